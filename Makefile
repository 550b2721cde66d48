# Verbs for people, pre-commit and CI. They work in $(VENV) and build/, and install what is missing there.
#   make test                  everything from a fresh machine to the last test; ARGS="-k rope" goes to pytest
#   make docs                  the documentation, into build/docs; ARGS=serve shows it at http://localhost:8000
#   make demo VIDEO=clip.mp4   the whole way on one clip (without VIDEO on a clip that it makes)
#   make wheel PYTHONS="3.12"  wheels with an FFmpeg of their own (without PYTHONS for every CPython that is found)

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= dev
VIDEO ?=
PYTHONS ?=
FFMPEG_SOURCE ?=
ARGS ?=
TEST_PROCESSES ?= auto
FUZZ_SECONDS ?= 600
FUZZ_TARGETS ?= nal h264_nal file push
FUZZ_JOBS ?= 1
CLANGXX ?= $(notdir $(lastword clang++ $(wildcard /usr/bin/clang++-*) $(wildcard /usr/bin/clang++)))

BUILD := build/release
PY := $(VENV)/bin/python
REFERENCE ?= $(PY)
PIP := $(PY) -m pip --disable-pip-version-check --quiet
SOURCES = $(shell find csrc tests/cpp tests/fuzz bench examples -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')
SCRIPTS := $(foreach d,python tests tools bench,$(if $(shell find $d -name '*.py' -print -quit 2>/dev/null),$d))
comma := ,
export CMAKE_CXX_COMPILER_LAUNCHER ?= $(shell command -v ccache)

.PHONY: all install format lint test bench docs demo wheel check-aarch64 check-cuda asan tsan fuzz clean system

all: format lint test

system:
	@tools/install-system-packages $(PYTHON)

# What the build itself needs, because it runs without isolation to keep its build directory.
$(VENV)/.build-tools: constraints.txt Makefile | system
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt "pip>=23.1" "scikit-build-core>=0.11" "pybind11>=2.13"
	touch $@

# A regular install, not an editable one: tests see the package as a user gets it, whatever PYTHONPATH other checkouts use.
# timm comes without what it depends on: its torchvision has no build for the PyTorch of constraints.txt, and no model
# here needs it.
install: system $(VENV)/.build-tools
	$(PIP) install -c constraints.txt --no-build-isolation -C build-dir=$(BUILD) -C cmake.define.OVE_TESTS=ON \
	  $(DEFINES) ".[$(EXTRAS)]"
	$(PIP) install -c constraints.txt --no-deps "timm>=1.0.9"

format: install
	$(VENV)/bin/clang-format -i $(SOURCES)
	$(VENV)/bin/ruff check --fix $(SCRIPTS)
	$(VENV)/bin/ruff format $(SCRIPTS)

lint: install
	$(PY) tools/check_includes.py csrc
	$(VENV)/bin/clang-format --dry-run --Werror $(SOURCES)
	$(VENV)/bin/ruff check $(SCRIPTS)
	$(VENV)/bin/ruff format --check $(SCRIPTS)
	$(VENV)/bin/mypy --python-executable $(PY) $(SCRIPTS)
	PYTHONPATH=python $(VENV)/bin/lint-imports --no-cache
	@test $$(wc -l < README.md) -le 250 || { echo "README.md has more than 250 lines: move tables to docs/"; exit 1; }
	$(if $(shell command -v actionlint),actionlint,@echo "actionlint is not installed: workflows are not checked")
	$(PY) -m mypy.stubtest --mypy-config-file pyproject.toml ove_codec._core \
	  $$($(PY) -c 'from importlib.util import find_spec as f; print("ove_codec._cuda" if f("ove_codec._cuda") else "")')

# A file's tests run in one process, which makes their streams once. The processes share the cores, so PyTorch takes one
# thread in each.
test: install
	$(call sanitized,asan,address$(comma)undefined)
	cmake --build build/asan --target fuzz_nal fuzz_h264_nal fuzz_file fuzz_push
	ctest --test-dir $(BUILD) --output-on-failure --no-tests=error
	OVE_FUZZ_DRIVERS=$(CURDIR)/build/asan/tests/fuzz OVE_TEST_MODULES=$(abspath $(BUILD))/tests/cpp \
	  OVE_EXAMPLES=$(abspath $(BUILD))/examples OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} \
	  $(VENV)/bin/pytest -n $(TEST_PROCESSES) --maxprocesses 4 --dist loadfile $(ARGS)

bench: EXTRAS := dev,bench
bench: DEFINES := -C cmake.define.OVE_BENCH=ON
bench: install
	$(PY) bench/run.py $(ARGS)

# Strict: what a page or docstring refers to is there. Nothing is fetched, neither by the build nor by readers' browsers.
docs: EXTRAS := docs
docs: install
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs $(or $(ARGS),build) --strict

demo: install
	$(PY) tools/demo.py $(if $(VIDEO),"$(VIDEO)") $(ARGS)

# Compared with the build on the system's FFmpeg; REFERENCE= leaves that out, where the system has none.
wheel: $(if $(REFERENCE),install)
	tools/install-system-packages --wheel $(PYTHON)
	$(PYTHON) tools/build_wheels.py $(PYTHONS:%=--python %) --ffmpeg "$(FFMPEG_SOURCE)" \
	  $(if $(REFERENCE),--reference $(REFERENCE)) $(DEFINES) $(ARGS)

# On a machine with a GPU, with whatever PyTorch PYTHON has; nothing is installed. ARGS=--dry-run where there is no GPU.
check-cuda:
	$(PYTHON) tools/check_cuda.py $(ARGS)

# $(call sanitized,FOLDER,SANITIZERS): configures build/FOLDER, with GCC, whose run-time libraries run-sanitized loads.
sanitized = cmake -S . -B build/$1 -G Ninja -DCMAKE_BUILD_TYPE=None "-DCMAKE_CXX_FLAGS=-O1 -g1" \
  -DCMAKE_CXX_COMPILER=g++ \
  -DOVE_TESTS=ON -DOVE_SANITIZE=$2 -DPython_EXECUTABLE=$(abspath $(PY)) \
  -Dpybind11_DIR=$$($(PY) -m pybind11 --cmakedir)

# Cross-compiled, and run under QEMU.
check-aarch64: install
	tools/install-system-packages --aarch64 $(PYTHON)
	$(PY) tools/check_aarch64.py $(ARGS)

# Everything under AddressSanitizer and UndefinedBehaviorSanitizer, leaks included.
asan: install
	$(call sanitized,asan,address$(comma)undefined)
	cmake --build build/asan
	ctest --test-dir build/asan --output-on-failure --no-tests=error
	OVE_FUZZ_DRIVERS=$(CURDIR)/build/asan/tests/fuzz tools/run-sanitized address build/asan $(abspath $(PY)) -m pytest --capture=sys $(ARGS)

# What works on several threads, under ThreadSanitizer.
tsan: install
	$(call sanitized,tsan,thread)
	cmake --build build/tsan
	ctest --test-dir build/tsan --output-on-failure --no-tests=error
	tools/run-sanitized thread build/tsan $(abspath $(PY)) -m pytest --capture=sys -m threads $(ARGS)

# Every fuzz target in turn for FUZZ_SECONDS, on FUZZ_JOBS cores, a third of the time on small inputs, which take a tenth
# of the time each. Inputs gather in build/fuzz/corpus; what is found lies in build/fuzz/finding_*, and is run again by
# build/fuzz/build/tests/fuzz/fuzz_TARGET FILE. Left out are what costs more than it finds here: libFuzzer's scheduling by
# entropy and tracing of comparisons (half of the time, and a third of the rest), and stacks that ASan keeps.
FUZZ_SMALL ?= 512
FUZZ_LARGE ?= 40000
FUZZ_ASAN = detect_stack_use_after_return=0:malloc_context_size=4:quarantine_size_mb=16
fuzz: install
	tools/install-system-packages $(PYTHON) $(CLANGXX)
	cmake -S . -B build/fuzz/build -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_COMPILER=$(CLANGXX) \
	  -DOVE_PYTHON=OFF -DOVE_TESTS=ON -DOVE_LIBFUZZER=ON -DOVE_SANITIZE=address,undefined \
	  -DCMAKE_CXX_FLAGS=-fsanitize-coverage=inline-8bit-counters,pc-table
	cmake --build build/fuzz/build --target $(FUZZ_TARGETS:%=fuzz_%)
	$(PY) tests/fuzz/make_corpus.py build/fuzz/seeds
	for target in $(FUZZ_TARGETS); do \
	  case $$target in h264_nal) words=h264;; *) words=hevc;; esac; \
	  for size in $(FUZZ_SMALL) $(FUZZ_LARGE); do \
	    case $$size in $(FUZZ_SMALL)) seconds=$$(($(FUZZ_SECONDS) / 3));; *) seconds=$$(($(FUZZ_SECONDS) * 2 / 3));; esac; \
	    mkdir -p build/fuzz/corpus/$$target && \
	    ASAN_OPTIONS=$(FUZZ_ASAN) build/fuzz/build/tests/fuzz/fuzz_$$target build/fuzz/corpus/$$target \
	      build/fuzz/seeds/$$target tests/fuzz/regressions/$$target -dict=tests/fuzz/$$words.dict \
	      $(if $(filter-out 1,$(FUZZ_JOBS)),-fork=$(FUZZ_JOBS)) -entropic=0 -max_total_time=$$seconds -max_len=$$size \
	      -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix=build/fuzz/finding_$$target- || exit 1; \
	  done; \
	done

clean:
	rm -rf build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find python tests tools -name __pycache__ -prune -exec rm -rf {} +
	rm -f python/ove_codec/_core*.so python/ove_codec/_cuda*.so
