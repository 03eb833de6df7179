# Everything that a recipe does is a script in scripts/, or one command.

export PATH := $(PATH):$(HOME)/.cargo/bin
PREFIX ?= /usr/local

.DEFAULT_GOAL := help
.PHONY: help run build test lint docs bench bench-against bench-rules train dist sbom install clean test-observability drill-kill drill-disk drill-switch drill-memory deb drill-debian drill-cpus drill-gpu gpu-module drill-queue drill-haproxy capacity drill-malformed drill-overload fuzz

help: ## Show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 26

run: ## Build, bring the model, start the daemon, judge the examples, serve (ONCE=1 LISTEN=… CONTROL_LISTEN=…)
	@scripts/run

build: ## Compile target/release/judged
	@scripts/setup build
	cargo build --release

test: ## Run every test: Rust, real model, training, clients, observability, distribution
	@scripts/test

test-observability: build ## Let a real Prometheus scrape a daemon, and ask it every query
	@scripts/setup watch
	@scripts/test-observability

lint: ## Check format, lints, dependencies, proto, scripts, docs
	@scripts/lint

docs: build ## Write docs/cli.md anew
	@scripts/docs

bench: build ## Measure the model's speed beside llama.cpp's own benchmark, and the rules and the log (ROUNDS=3 LLAMA_BENCH=…)
	@scripts/bench
	cargo bench --bench decisions -- $(ROUNDS)

bench-against: build ## Measure the daemon beside llama-server on the same prompts (REQUESTS=40 ROUNDS=3 DATA=…)
	@scripts/bench-against

bench-rules: build ## Measure decisions by rules over gRPC: full load, half of it, beside a busy engine (ROUNDS=3)
	@scripts/setup load
	@scripts/bench-rules

drill-kill: ## Kill the daemon and the log's writer under load, again and again (CYCLES=2000)
	JUDGED_KILL_CYCLES=$(or $(CYCLES),2000) cargo test --release --test logic --test daemon crash:: -- --nocapture

drill-disk: build ## Take the disk away from under the daemon in every way (as root)
	@scripts/drill-disk

drill-switch: build ## Drive each condition of the kill switch to its trip, restart, re-arm
	@scripts/drill-switch

drill-debian: dist deb ## Try the tarball and the package in a bare Debian, with systemd (as root)
	@scripts/setup drills
	@scripts/drill-debian

drill-cpus: build ## Judge the same cases on this CPU, without AVX-512 and without AVX2 (CASES=20)
	@scripts/setup drills
	@scripts/drill-cpus

drill-memory: ## Compare the memory after 1,000 and after 10,000 mixed requests (REQUESTS=10000)
	JUDGED_MEMORY_REQUESTS=$(or $(REQUESTS),10000) cargo test --release --test memory -- --nocapture

gpu-module: build ## Build llama.cpp's module for a kind of GPU alone (KIND=cuda|vulkan)
	@scripts/gpu-module $(KIND)

drill-gpu: build ## Run layers on Vulkan without a GPU, and let drivers fail in every way
	@scripts/drill-gpu

drill-queue: ## Kill and restart workers of a queue, with poison in it (MESSAGES=5000)
	JUDGED_QUEUE_MESSAGES=$(or $(MESSAGES),5000) cargo test --release --test daemon worker::workers_that_are_killed -- --nocapture

drill-haproxy: ## Kill, drain and replace daemons behind HAProxy under load (SECONDS=60)
	JUDGED_HAPROXY_SECONDS=$(or $(SECONDS),60) cargo test --release --test daemon haproxy:: -- --nocapture

capacity: ## Reckon how many hosts so many drafts a day need, and write it into docs/scaling.md
	@scripts/capacity

drill-malformed: ## Send the daemon what nobody should, and look at each answer (MESSAGES=1000000)
	JUDGED_MALFORMED_MESSAGES=$(or $(MESSAGES),1000000) cargo test --release --test daemon malformed:: -- --nocapture

drill-overload: ## Load a daemon at twice its capacity, with callers who leave (MINUTES=30)
	JUDGED_OVERLOAD_MINUTES=$(or $(MINUTES),30) cargo test --release --test overload -- --nocapture

fuzz: build ## Fuzz each reader of untrusted bytes, or READERS="gguf wire" (MINUTES=2 each)
	@scripts/fuzz $(READERS)

train: build ## Train an adapter on the served base (DATA=… DEV=… OUT=target/adapter)
	@scripts/train

dist: build ## Pack dist/judged-<version>-linux-<cpu>.tar.gz, which runs anywhere
	@scripts/dist

deb: build ## Pack dist/judged_<version>-1_<cpu>.deb, for Debian 12 and newer
	@scripts/setup deb
	@scripts/deb

sbom: ## Write target/judged.cdx.json: what is linked in, in CycloneDX's format
	@mkdir -p target
	scripts/sbom.py >target/judged.cdx.json

install: ## Install what `make build` made (PREFIX=/usr/local DESTDIR=…)
	@DESTDIR="$(DESTDIR)" scripts/install "$(PREFIX)"

clean: ## Delete all that was made; the next build compiles llama.cpp again
	rm -rf target fuzz/target fuzz/artifacts fuzz/coverage dist .venv clients/rust/target clients/node/node_modules \
		clients/python/gen clients/python/build clients/python/*.egg-info clients/python/.venv
