# make demo: the page on http://127.0.0.1:7860    make test: all tests    Both set everything up first.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: demo test lint format hostile examples picture clean

demo: $(VENV)/runtime.done
	$(RUN) app.py

test: $(VENV)/dev.done  # a worker for each of two cores; the files of one share its server
	$(RUN) -m pytest -n 2 --dist loadfile

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
	rm -rf $(VENV)

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 demo")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime.done: requirements.txt | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/dev.done: requirements.txt requirements-training.txt requirements-benchmark.txt requirements-batch.txt requirements-dev.txt | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@ $(VENV)/runtime.done
