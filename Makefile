# Everything that a recipe does is a script in scripts/, or one command.

export PATH := $(PATH):$(HOME)/.cargo/bin
PREFIX ?= /usr/local

.DEFAULT_GOAL := help
.PHONY: help run build test lint docs bench train dist install clean

help: ## Show this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 18

run: ## Bring the model, start the daemon, judge the examples, serve (ONCE=1 LISTEN=… CONTROL_LISTEN=…)
	@scripts/run

build: ## Compile target/release/judged
	@scripts/setup build
	cargo build --release

test: ## Run every test: Rust, real model, training, clients, distribution
	@scripts/test

lint: ## Check format, lints, dependencies, proto, scripts, docs
	@scripts/lint

docs: build ## Write docs/cli.md anew
	@scripts/docs

bench: build ## Measure the speed, beside llama.cpp's own benchmark (ROUNDS=3 LLAMA_BENCH=…)
	@scripts/bench

train: build ## Train an adapter on the served base (DATA=… DEV=… OUT=target/adapter)
	@scripts/train

dist: build ## Pack dist/judged-<version>-linux-<cpu>.tar.gz, which runs anywhere
	@scripts/dist

install: ## Install what `make build` made (PREFIX=/usr/local DESTDIR=…)
	@scripts/install "$(DESTDIR)$(PREFIX)"

clean: ## Delete all that was made; the next build compiles llama.cpp again
	rm -rf target dist .venv clients/node/node_modules clients/python/gen
