# make demo: the page on http://127.0.0.1:7860    make test: all tests    Both set everything up first.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
TOOLS := .tools
LOWEST ?= .lowest

.PHONY: demo test test-lowest audit lint format hostile examples picture clean

demo: $(VENV)/runtime.done
	$(RUN) app.py

test: $(VENV)/dev.done  # a worker for each of two cores; the files of one share its server
	$(RUN) -m pytest -n 2 --dist loadfile

test-lowest: $(TOOLS)/lowest.txt  # all tests with the lowest versions that the requirements allow
	$(PYTHON) -m venv $(LOWEST)
	$(TOOLS)/bin/uv pip sync --python $(LOWEST)/bin/python $(TOOLS)/lowest.txt
	$(LOWEST)/bin/python -m pytest -n 2 --dist loadfile

audit: $(TOOLS)/lowest.txt $(TOOLS)/highest.txt  # published holes in what the requirements allow, lowest and highest
	@$(TOOLS)/bin/python -c "import requests; requests.head('https://api.osv.dev', timeout=10)" 2>/dev/null || \
		{ echo "Nothing was audited: the database of vulnerabilities (api.osv.dev) cannot be reached from here." >&2; exit 2; }
	$(TOOLS)/bin/pip-audit -s osv --no-deps --disable-pip -r $(TOOLS)/lowest.txt
	$(TOOLS)/bin/pip-audit -s osv --no-deps --disable-pip -r $(TOOLS)/highest.txt

lint: $(VENV)/dev.done
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: $(VENV)/dev.done
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

hostile: $(VENV)/dev.done  # thousands of bad uploads to a started server: what it answers, and whether it stands
	$(RUN) -m tests.siege

examples: $(VENV)/dev.done
	$(RUN) -m examples.make_examples

picture: $(VENV)/dev.done  # of the page with a drawn example, for README.md
	$(RUN) -m docs.draw_page

clean:
	rm -rf $(VENV) $(TOOLS) $(LOWEST)

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 demo")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime.done: requirements.txt | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/dev.done: $(wildcard requirements*.txt) | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@ $(VENV)/runtime.done

$(TOOLS)/bin/uv:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check uv pip-audit

$(TOOLS)/%.txt: $(wildcard requirements*.txt) | $(TOOLS)/bin/uv
	$(TOOLS)/bin/uv pip compile --quiet --resolution $(if $(filter lowest,$*),lowest-direct,highest) requirements-dev.txt -o $@
