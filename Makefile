# What a newcomer types. Everything below sets itself up first: scripts/setup.sh says what it needs and does nothing twice.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench cross cross-check deb deb-test boot-test clean

# rustup's folder is often missing from the PATH of shells that did not log in.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

# The ONNX Runtime library to load: one of your own, or the one that setup put here.
ifeq ($(strip $(ORT_DYLIB_PATH)),)
override ORT_DYLIB_PATH := $(CURDIR)/.onnxruntime/libonnxruntime.so
endif
export ORT_DYLIB_PATH

# Folder of public data sets. The demo and the tests use more of them when it is there and do without when it is not.
ifeq ($(strip $(TAKT_DATA)),)
override TAKT_DATA := $(CURDIR)/../shared/data
endif
export TAKT_DATA

# Folder of your own images for the demo; empty for none. Read from the environment in the recipe, so any character in it is safe.
IMAGES ?=
export IMAGES

# Architectures to make packages for: arm64 is built elsewhere than on arm64 only where that is possible.
DEB_ARCH ?= $(if $(filter x86_64,$(shell uname -m)),amd64 arm64,arm64)

help: ## print this list
	@echo 'make TARGET, where TARGET is one of'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)$$/  \1\t\2/p' Makefile | expand -t 15
	@echo
	@echo 'Variables: IMAGES=DIR          your own images for the demo'
	@echo '           TAKT_DATA=DIR       public data sets (default ../shared/data, used when there)'
	@echo '           ORT_DYLIB_PATH=FILE your own libonnxruntime.so; then none is fetched'
	@echo '           DEB_ARCH=ARCH       amd64 or arm64, to make one package only'

setup: ## check Rust, install what is missing, fetch ONNX Runtime
	@scripts/setup.sh

# The program looks for the library next to itself, so it also works when it is not run by make.
BESIDE = @ln -sfn -- "$$ORT_DYLIB_PATH" "$${CARGO_TARGET_DIR:-./target}/debug/libonnxruntime.so"

demo: setup ## teach and inspect on example parts, results in demo-out/ (IMAGES=DIR for your own images)
	cargo build --locked --bin takt
	$(BESIDE)
	@arguments=(); \
	if [[ -n $$IMAGES ]]; then arguments+=(--images "$$IMAGES"); fi; \
	if [[ -d $$TAKT_DATA ]]; then arguments+=(--data "$$TAKT_DATA"); fi; \
	"$${CARGO_TARGET_DIR:-./target}/debug/takt" demo --out demo-out "$${arguments[@]}"

test: setup ## run all tests
	cargo test --locked
	$(BESIDE)

lint: setup ## check formatting and clippy
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings

bench: setup ## run the benchmarks
	cargo bench --locked

cross: setup ## build the release program for aarch64 on x86-64 Debian 12, and check what it asks of a system
	scripts/cross.sh build --release --locked --bin takt
	scripts/check-symbols.sh "$${CARGO_TARGET_DIR:-./target}/aarch64-unknown-linux-gnu/release/takt" .cross/sysroot/DEBIAN/symbols

cross-check: cross ## compare scores and verdicts of that program, under qemu, with those of x86-64
	cargo build --locked --bin takt
	scripts/cross-check.sh

deb: setup ## build the Debian packages for DEB_ARCH (default: amd64 and arm64) into dist/
	@for arch in $(DEB_ARCH); do scripts/deb.sh "$$arch"; done

deb-test: deb ## install, upgrade, remove and purge that package in a Debian 12 of its own
	scripts/deb-test.sh

boot-test: ## boot a machine with the Debian package in qemu and check it, as root (ARGS=--quick for less)
	@scripts/boot-test.sh $(ARGS)

clean: ## remove build output and demo results; .onnxruntime/, .cross/ and .boot-test/ stay, they are downloads
	cargo clean
	rm -rf demo-out dist
