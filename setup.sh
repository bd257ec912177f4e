#!/bin/sh
# Make .venv/ hold exactly what requirements/ lists: `sh setup.sh demo` or `sh setup.sh test`.
# Needs python >= 3.11 and either uv or pip >= 22.3; no ensurepip, and nothing outside this folder is changed.
set -eu
cd "$(dirname "$0")"
goal=${1:?usage: sh setup.sh demo|test}
stop() { echo "setup: $*" >&2; exit 2; }

python=
for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
    if command -v "$candidate" >/dev/null 2>&1 &&
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || stop "Python 3.11 or newer is needed and was not found; install it, or name it with PYTHON=/path/to/python."

case $goal in
    demo) files=requirements/run.txt ;;
    test) files=requirements/dev.txt ;;
    *) stop "unknown goal '$goal'; expected demo or test." ;;
esac
state=$(cat $files requirements/clips.txt | cksum)
stamp=.venv/.installed-$goal
[ -x .venv/bin/python ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$state" ] && exit 0

# A virtual environment that an upgrade of the system's Python broke is made anew.
[ ! -e .venv ] || .venv/bin/python -c '' >/dev/null 2>&1 || rm -rf .venv
echo "setup: installing into .venv/ (first time only)"
if command -v uv >/dev/null 2>&1; then
    [ -x .venv/bin/python ] || uv venv --quiet --python "$(command -v "$python")" .venv
    install() { uv pip install --quiet --python .venv/bin/python --require-hashes "$@"; }
else
    "$python" -c 'import pip, sys; v = pip.__version__.split("."); sys.exit((int(v[0]), int(v[1])) < (22, 3))' \
        >/dev/null 2>&1 || stop "pip 22.3 or newer (or uv) is needed for $python; install or upgrade one of them."
    # --without-pip and the outer pip work where ensurepip is missing and where the system's pip refuses to install.
    [ -x .venv/bin/python ] || "$python" -m venv --without-pip .venv
    install() { "$python" -m pip --python .venv/bin/python install --quiet --disable-pip-version-check \
        --no-input --require-hashes "$@"; }
fi
install -r $files || stop "the packages could not be installed; the lines above say why."
# The clip maker has no wheel for every platform; without it the sandbox plays its bundled clip.
install --only-binary :all: -r requirements/clips.txt ||
    echo "setup: no clip maker for this platform; the sandbox will play its bundled clip."
echo "$state" >"$stamp"
