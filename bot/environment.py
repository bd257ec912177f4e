"""What is written around the process: settings in its environment, in `.env` and in its image, and its proxies.

People, Docker, Kubernetes and platforms write it in ways of their own. What is clearly meant is understood; the rest is
told by its name, and never by its value, which may be a secret.
"""

from __future__ import annotations

import difflib
import io
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from dotenv.parser import parse_stream

from bot.errors import SettingsError

IMAGE = "IMAGE_"  # an image sets IMAGE_NAME for NAME, because an empty NAME from outside would override it
# A name that begins so is ours or a mistake; WEB_, RUN_, PUBLIC_ and DATABASE_ also begin names of platforms.
_OURS = ("QUOTA_", "PRICE_", "RUNFLOW_", "DISCORD_", "RUNS_", "POLL_", "CLIP_", "MEDIA_", "OPERATOR_", "PROMPT_")
_NEAR, _NEAR_OURS = 0.8, 0.5  # as `difflib` counts likeness, from 0 to 1
_QUOTED = re.compile(r"""(["'])(.*?)\1(?:\s+#.*)?""", re.DOTALL)
_COMMENT = re.compile(r"\s+#.*", re.DOTALL)  # as in `.env`
# What Kubernetes sets for each Service (kubernetes.io, Service, Discovering services).
_SERVICE_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://")
_SERVICE_NAME = re.compile(r"_SERVICE_(?:HOST|PORT)(?:_|$)|_PORT_\d+_(?:TCP|UDP|SCTP)(?:_|$)")


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What was found: the settings by name, none of them empty, and sentences about what an operator should know."""

    values: Mapping[str, str]
    remarks: tuple[str, ...]


def read(names: Collection[str], environment: Mapping[str, str], file: Path) -> Surroundings:
    """Find these settings: in the environment, else in the file, else as the image has them; empty is not there.

    Raises SettingsError where a line of the file cannot be read, OSError and UnicodeDecodeError where all of it cannot.
    """
    outside = {name.upper(): value for name, value in environment.items()}
    plain = {name: _plain(value) for name, value in outside.items() if name.removeprefix(IMAGE) in names}
    services = [name for name in names if _SERVICE_ADDRESS.match(plain.get(name, ""))]
    plain |= dict.fromkeys(services, "")
    inside = {name.upper(): value for name, value in _lines(file)}
    values = {name: plain.get(name) or inside.get(name) or plain.get(f"{IMAGE}{name}") for name in names}
    return Surroundings(
        values={name: value for name, value in values.items() if value},
        remarks=(*_exposed(file), *map(_of_kubernetes, services), *_strangers(names, inside | outside)),
    )


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    """Names and values, each as it is: what looks like a reference to another is none."""
    if not file.is_file():
        return
    for binding in parse_stream(io.StringIO(file.read_text(encoding="utf-8-sig"))):
        if binding.error:
            line = binding.original.line
            raise SettingsError(
                f"Line {line} of {file} cannot be read: write NAME=VALUE, and a comment behind #; "
                "what is not read there might be a limit."
            )
        if binding.key is not None:
            yield binding.key, binding.value or ""


def proxy_for(url: str) -> str | None:
    """The proxy that HTTPS_PROXY and the like name for an address.

    None for what NO_PROXY names, and for this machine itself.
    Raises SettingsError where it is none that we can use.
    """
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme, "").strip()
    if not proxy or _is_this_machine(parts.hostname or "") or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    named = proxy if "://" in proxy else f"http://{proxy}"
    try:
        target = urlsplit(named)
        usable = target.scheme in ("http", "https") and target.hostname and target.port != 0
    except ValueError:  # a port that is none
        usable = False
    if not usable:
        raise SettingsError(
            f"{parts.scheme.upper()}_PROXY is wrong: it must be the address of an HTTP proxy "
            "such as http://proxy.example:3128."
        )
    return named


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _plain(text: str) -> str:
    """A value without the quotes and the comment that `docker --env-file` takes for a part of it."""
    if quoted := _QUOTED.fullmatch(text.strip()):
        return quoted[2].strip()
    return _COMMENT.sub("", text).strip()


def _exposed(file: Path) -> Iterator[str]:
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except OSError:
        return
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        yield f"{file} holds secrets and can be read by others (mode {mode:03o}); chmod 600 {file}"


def _of_kubernetes(name: str) -> str:
    service = name.removesuffix("_PORT").replace("_", "-").lower()
    return f"{name} is ignored: Kubernetes set it for the Service {service}; set enableServiceLinks: false"


def _strangers(names: Collection[str], found: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each name that looks like a setting and is none."""
    for name, value in sorted(found.items()):
        if name.removeprefix(IMAGE) in names or _SERVICE_NAME.search(name) or _SERVICE_ADDRESS.match(value):
            continue
        ours = name.startswith(_OURS)
        near = difflib.get_close_matches(name, names, 1, _NEAR_OURS if ours else _NEAR)
        if near or ours:
            yield f"{name} is no setting and has no effect" + "".join(f"; did you mean {each}?" for each in near)
