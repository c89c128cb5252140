# Commands for developers. Every target installs the Debian packages that it needs if they are missing, and says so.

CARGO ?= cargo
GUEST := tests/guest/run
DEMO := $(addprefix --bin ,demo wgctl sentrazone-plane sentrazone-agent)
ALL_TESTS := --lib --bins --test '*'
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo -n)

.PHONY: help demo test faults sim hostile fuzz mutants check build kernel docs bench deb deb-test tools guest

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

demo: tools ## Show Sentrazone at work: plane, two agents, a device, a tunnel (KEEP=1 leaves it running)
	@echo "Building (the first time takes some minutes)"
	@tests/together "emulated host: tests/guest/prepare" "programs: $(CARGO) build --workspace --quiet $(DEMO)"
	@$(GUEST) $(if $(KEEP),--forward 8080:8080 --timeout 86400) -- target/debug/demo $(if $(KEEP),--keep)

# Tests wait more than they compute. Therefore two parts run at a time, and the part on this machine runs twice as many
# tests at a time as there are processors. The tests that reboot whole machines count every ping, so they run alone.
test: tools ## Run every test
	@echo "Building (the first time takes some minutes)"
	@tests/together \
	  "emulated hosts: tests/guest/prepare && tests/guest/machine/prepare" \
	  "programs and tests: $(CARGO) build --workspace --quiet && $(CARGO) test --workspace --quiet --no-run $(ALL_TESTS)"
	@tests/together \
	  "here, then on a real kernel: RUST_TEST_THREADS=$$((2 * $$(nproc))) $(CARGO) test --workspace --quiet --no-fail-fast \
	    && $(CARGO) kernel-test --quiet --test device --test end_to_end \
	    && SENTRAZONE_GUEST=always $(CARGO) kernel-test --quiet --test userspace" \
	  "faults: SENTRAZONE_GUEST=always $(CARGO) kernel-test --quiet --test faults"
	$(CARGO) machine-test --quiet --test reboot

faults: build guest ## Inject every fault as often as docs/reliability.md says (several hours), and print the table
	@SENTRAZONE_CARGO="$(CARGO)" tests/faults

sim: tools ## Simulate plane and agents over a bad network: make sim [SEEDS=10000] [SEED=n replays one]
	$(if $(SEED),SEED=$(SEED),SEEDS=$(or $(SEEDS),10000)) $(CARGO) test -p sentrazone-tests --test simulation --quiet -- whatever --nocapture

hostile: build ## Attack a release build while clients work (several minutes): make hostile [T=part_of_a_name]
	$(CARGO) build --release --quiet -p sentrazone-plane
	@SENTRAZONE_PROGRAMS=$(CURDIR)/target/release target/debug/hostile $(if $(T),"$(T)")
	$(if $(T),,tests/hostile/schemathesis --plane target/release/sentrazone-plane)

fuzz: tools ## Fuzz every parser: make fuzz [SECONDS=60] [T=target]
	@tests/fuzz/run $(or $(SECONDS),60) $(T)

mutants: tools ## Count changes to the code that no test catches (hours): make mutants [T=pool]
	@tests/mutants $(T)

kernel: build guest ## Run kernel tests by name: make kernel T=end_to_end [NAME=part_of_a_name]
	$(CARGO) kernel-test --test $(or $(T),end_to_end) $(NAME)

check: tools ## Check formatting, lints, documentation, licences
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path tests/fuzz/Cargo.toml --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	$(CARGO) clippy --workspace --test '*' --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet
	tests/tools --with-cargo-deny
	$(CARGO) deny --log-level error check bans licenses sources
	@if $(CARGO) deny --log-level error fetch db 2>/dev/null; \
	  then $(CARGO) deny --log-level error check advisories; \
	  else echo "advisories: not checked, because the advisory database cannot be reached"; fi

docs: build ## Regenerate the generated documents
	$(CARGO) run --quiet -p sentrazone-tests --bin api-reference
	SENTRAZONE_WRITE_DOCS=1 $(CARGO) test --quiet -p sentrazone-tests --test documents

bench: build guest ## Measure performance alongside the usual tools (in an emulated host, then with wireguard-go here)
	$(CARGO) build --release --quiet -p sentrazone-plane
	$(CARGO) build --release --quiet -p sentrazone-agent
	@SENTRAZONE_PROGRAMS=$(CURDIR)/target/release $(GUEST) --timeout 1800 -- target/debug/bench
	@echo; echo "On this machine, with wireguard-go instead of the kernel's WireGuard"
	@$(AS_ROOT) env SENTRAZONE_PROGRAMS=$(CURDIR)/target/release target/debug/bench --userspace

deb: tools ## Build the Debian packages, in target/packages
	@tests/tools --for-packages
	@SENTRAZONE_CARGO="$(CARGO)" packaging/build

deb-test: deb guest ## Test the packages: lintian, and their whole life cycle on a bare system and emulated machines
	@packaging/test
	SENTRAZONE_PACKAGES=$(CURDIR)/target/packages $(CARGO) machine-test --quiet --test packages

build: tools ## Build the programs for tests and demo
	@echo "Building (the first build takes several minutes)"
	@$(CARGO) build --workspace --quiet

tools:
	@tests/tools

guest: tools
	@tests/guest/prepare
