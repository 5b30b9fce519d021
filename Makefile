# One command for each thing a person does here. `make help` lists them.
#
# The target folder lives outside the clone, so that a fresh clone on a warm machine does not pay for a build again.

CARGO ?= cargo
CARGO_TARGET_DIR ?= $(HOME)/.cache/highwater/target
export CARGO_TARGET_DIR

# Where there is a compiler cache, the C and C++ parts are compiled once per machine.
ifneq ($(wildcard /usr/lib/ccache),)
export PATH := /usr/lib/ccache:$(PATH)
endif

# Pure Rust, no C: what a newcomer builds first.
LIGHT := --no-default-features --features cli

.DEFAULT_GOAL := help
.PHONY: help demo setup test verify fix conformance mutations sim broken kill-table random-kills processes outages five-million memory bench

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## a live windowed count on the terminal, 20 seconds, nothing needed but a Rust toolchain
	$(CARGO) run --locked $(LIGHT) -- demo $(ARGS)

# Tests on a real Kafka start their own, and fail where they cannot.
test kill-table random-kills processes outages: export HIGHWATER_REQUIRE_KAFKA ?= 1

setup: ## what the build and the tests need beside Rust (compilers, Java, Maven): installed if that is possible, else named
	@tests/setup.sh

test: setup ## every test that a fresh clone can run, with a real Kafka that it starts, and a sample of the kill table
	$(CARGO) test --locked
	SAMPLE=30 $(CARGO) test --locked --features failpoints --test kill
	SAMPLE=24 KAFKA=1 JOBS=3 $(CARGO) test --locked --features failpoints --test kill

verify: ## what a change must pass; changes nothing: format, lints as errors, tests, each feature set, documentation
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) check --locked --lib --tests --no-default-features
	$(CARGO) test --locked
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --lib --no-deps --document-private-items

fix: ## format, and apply the lints that can be applied
	$(CARGO) fmt
	$(CARGO) clippy --fix --allow-dirty --allow-staged --all-targets

conformance: ## run a folder of conformance cases: make conformance CASES=path/to/cases
	@test -n "$(CASES)" || { echo "say which folder: make conformance CASES=path/to/cases" >&2; exit 2; }
	@test -d "$(CASES)" || { echo "there is no folder $(CASES)" >&2; exit 2; }
	@$(CARGO) test --locked --test conformance -- "$(abspath $(CASES))"

mutations: ## break the engine on purpose and see that the conformance cases notice: make mutations CASES=path/to/cases
	@test -d "$(CASES)" || { echo "say which folder: make mutations CASES=path/to/cases" >&2; exit 2; }
	@tests/conformance/mutations.sh "$(abspath $(CASES))"

SEEDS ?= 1000

sim: ## the engine in simulation: make sim SEEDS=1000, and make sim SEED=17 for one of them in full
	@SEEDS=$(SEEDS) $(if $(SEED),SEED=$(SEED)) $(CARGO) test --locked --release --test sim

broken: ## break the engine on purpose, nine times, and see that the simulation notices: make broken, ONLY=3 for one, WITH=kill-table for that one
	@SEEDS=$(SEEDS) ONLY="$(ONLY)" WITH="$(WITH)" tests/broken/run.sh

kill-table: ## SIGKILL at every step: make kill-table, KAFKA=1 on a real broker, ONLY=commit.acks KIND=count GUARANTEE=eos PASS=17 for some rows, SAMPLE=40 for a few of all
	@KAFKA="$(KAFKA)" ONLY="$(ONLY)" KIND="$(KIND)" GUARANTEE="$(GUARANTEE)" PASS="$(PASS)" SAMPLE="$(SAMPLE)" JOBS="$(JOBS)" ROUNDS= \
		$(CARGO) test --locked --features failpoints --test kill

random-kills: ## one run killed again and again at random times: make random-kills ROUNDS=200 KIND=count GUARANTEE=eos SEED=1, KAFKA=1 on a real broker
	@KAFKA="$(KAFKA)" ROUNDS=$(or $(ROUNDS),200) KIND="$(KIND)" GUARANTEE="$(GUARANTEE)" SEED="$(SEED)" $(CARGO) test --locked --features failpoints --test kill

processes: ## several processes on a real broker: kills, restarts, zombies, gaps; with the strict bound for gaps unless STRICT= is said, ONLY=zombie for some
	$(if $(filter-out undefined,$(origin STRICT)),$(if $(STRICT),STRICT=1),STRICT=1) $(CARGO) test --locked --test kafka processes::$(ONLY) -- --include-ignored --nocapture --test-threads=1

outages: ## brokers that are away for long, restart one after the other, die one after the other, under both guarantees, and what an operator is told of it in time: ten minutes
	$(CARGO) test --locked --test kafka outages -- --include-ignored --test-threads 1
	STRICT=1 $(CARGO) test --locked --test kafka -- operator:: security:: --test-threads 1

five-million: ## five million windows close at one instant, with state on disk and 256 MB: make five-million, ARGS=exactly-once
	$(CARGO) bench --locked --bench five_million -- $(ARGS)

memory: ## twenty million keys with 256 MB, 64 partitions with 512 MB, state on disk: what is resident. ARGS='keys 1000000' for a part
	$(CARGO) bench --locked --bench budget -- $(ARGS)

bench: ## the figures of docs/benchmarks.md
	$(CARGO) bench --locked --bench '*'
	$(CARGO) bench --locked --bench end_to_end -- memory
