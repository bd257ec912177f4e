# Two commands: `make demo` and `make test`. Both set up .venv/ by themselves.
.PHONY: demo test shots bench worlds kills format texts lock clean
python = .venv/bin/python

demo:
	@sh setup.sh demo
	@$(python) -m bot demo $(ARGS)

test:
	@sh setup.sh test
	$(python) -m ruff format --check .
	$(python) -m ruff check .
	.venv/bin/lint-imports --cache-dir .import_linter_cache
	@echo "pytest -n 4 --dist worksteal $(ARGS), and mypy beside it, whose word comes last"
	@# What is collected once is compiled for all four, which would each compile all of it.
	@said=$$(mktemp); nice $(python) -m mypy >$$said 2>&1 & types=$$!; \
		$(python) -m pytest --collect-only -qq $(ARGS) >/dev/null; \
		$(python) -m pytest -n 4 --dist worksteal $(ARGS); tests=$$?; \
		wait $$types; types=$$?; cat $$said; rm $$said; exit $$((tests | types))

# New simulated worlds and new examples of every property, and many kills: make worlds N=100000, make kills N=500.
worlds:
	@sh setup.sh test
	$(python) -m tests.worlds --worlds $(or $(N),1000)
	$(python) -m pytest -n 4 --dist worksteal --hypothesis-profile=new tests/test_hostile_*.py tests/test_store.py \
		tests/test_money_machine.py::test_any_story_keeps_the_books

kills:
	@sh setup.sh test
	$(python) -m tests.kills --kills $(or $(N),100)

# The pictures of docs/, drawn by the chat page in Chromium.
shots:
	@sh setup.sh test
	$(python) -m tests.shots

# Every figure beside a baseline of the same run: make bench, make bench ARGS="--only orders,memory --rounds 1".
bench:
	@sh setup.sh test
	@$(python) -m bench $(ARGS)

format:
	@sh setup.sh test
	$(python) -m ruff format .
	$(python) -m ruff check --fix .

# After a change of bot/texts/messages.py: writes the template and every catalogue anew, and tells what each lacks.
# make texts NEW=it begins a catalogue.
texts:
	@sh setup.sh test
	@$(python) -m tests.catalogues $(NEW)

# Needs uv. The files carry hashes and no index addresses.
lock:
	uv pip compile -q --universal --generate-hashes --no-header --no-annotate pyproject.toml -o requirements/run.txt
	uv pip compile -q --universal --generate-hashes --no-header --no-annotate --group clips \
		-c requirements/run.txt -o requirements/clips.txt
	uv pip compile -q --universal --generate-hashes --no-header --no-annotate --group dev pyproject.toml \
		-c requirements/run.txt -o requirements/dev.txt

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
