# The verbs of the project. Each is a script of scripts/, which can be read and run alone.
.DEFAULT_GOAL := help
.PHONY: help run run-mysql test lint bench

help: ## print the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## install what is missing and start everything on SQLite (PORT=8000)
	@scripts/run.sh

run-mysql: ## the same on a private MariaDB server, kept below data/mariadb
	@scripts/run_mysql.sh

test: ## all checks and the whole test suite, on a private MariaDB server and on SQLite
	@scripts/test.sh

lint: ## the checks alone: code, templates, scripts, spelling, contracts, types, migrations
	@scripts/install.sh requirements-dev.txt
	@scripts/lint.sh

bench: ## measure start-up, decoding and inference; writes benchmarks/RESULTS.md
	@scripts/install.sh requirements-dev.txt
	@.venv/bin/python -m benchmarks.bench
