# Sourced by ./dev: `./dev doctor`. Checks, changes nothing, and gives a fix for every line that fails.
# shellcheck shell=bash

DOCTOR_FAILURES=0

# check NAME FIX COMMAND…: one line.
check() {
  local name=$1 fix=$2
  shift 2
  if "$@" >/dev/null 2>&1; then
    printf '  ok      %s\n' "$name"
  else
    printf '  FAILED  %s\n          fix: %s\n' "$name" "$fix"
    DOCTOR_FAILURES=$((DOCTOR_FAILURES + 1))
  fi
}

doctor() {
  echo "tools"
  doctor_tools
  if [[ -f .dev/stack.env ]]; then
    echo "the running stack"
    doctor_stack
  else
    echo "ports"
    doctor_ports
    echo "no stack is running (./dev up starts one)"
  fi
  if ((DOCTOR_FAILURES > 0)); then
    die "$DOCTOR_FAILURES of the lines above failed"
  fi
  echo "all is well"
}

doctor_tools() {
  check "Rust $(version_of rustc --version), 1.89 or later" "install or update it with rustup (https://rustup.rs)" rust_is_recent
  local name package test fix
  while IFS='|' read -r name package test; do
    if is_debian; then fix="apt-get install $package (./dev up does it)"; else fix="install $name with your package manager"; fi
    check "$name" "$fix" eval "$test"
  done < <(debian_tools)
  check "a way to build the filter for wasm32" "rustup target add wasm32-unknown-unknown, or apt-get install rustc-web rust-web-src" can_build_wasm
  if [[ -z ${CLICKHOUSE_URL:-} ]]; then
    check "ClickHouse's engine" "./dev up installs it; or set CLICKHOUSE_URL" test -x "$RATEGUARD_CHDB_PYTHON"
  fi
  check "Envoy ($(version_of "$ENVOY_BIN" --version))" "./dev up installs it; or set ENVOY_BIN" "$ENVOY_BIN" --version
}

version_of() {
  local text
  text=$("$@" 2>/dev/null) || { echo none; return; }
  grep -oE '[0-9]+\.[0-9]+\.[0-9]+' <<<"$text" | head -n 1
}

rust_is_recent() { [[ $(printf '1.89.0\n%s\n' "$(version_of rustc --version)" | sort -V | head -n 1) == 1.89.0 ]]; }
can_build_wasm() { has_wasm_target || has_wasm_by_debian; }

doctor_ports() {
  local port
  for port in 3000 3001; do
    if port_is_free "$port"; then
      printf '  ok      port %s is free\n' "$port"
    else
      printf '  note    port %s is taken (ss -ltnp shows by whom): ./dev up will take the next free one\n' "$port"
    fi
  done
}

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

doctor_stack() {
  # shellcheck disable=SC1091
  source .dev/stack.env
  local restart="./dev logs SERVICE tells why; ./dev down && ./dev up starts it anew"
  check "control plane is ready ($CONTROL_PLANE_URL/ready)" "${restart/SERVICE/control-plane}" answers 200 "$CONTROL_PLANE_URL/ready"
  check "limit service is ready ($LIMITS_HTTP_URL/ready)" "${restart/SERVICE/limits}" answers 200 "$LIMITS_HTTP_URL/ready"
  if [[ -n ${CLICKHOUSE_URL:-} ]]; then
    check "ClickHouse answers ($CLICKHOUSE_URL)" "${restart/SERVICE/clickhouse}" answers 200 "${CLICKHOUSE_URL%/*}/ping"
  fi
  check "gateway is ready ($GATEWAY_URL/ready)" "${restart/SERVICE/envoy}" answers 200 "$GATEWAY_URL/ready"
  check "a bad key gets 401 at the gateway" "the filter is not in force: ${restart/SERVICE/envoy}" chat 401 rg_live_K7dF9xQ2mN8bV3hJ5wR1tY6uI00LPdnF
  doctor_program
  check "the demo's key gets 200 at the gateway" "${restart/SERVICE/envoy}; after a revoked key or a spent budget: ./dev up --fresh" chat 200 "$DEMO_API_KEY"
}

# The product's own doctor, on this stack. Its table says what failed and how to mend it.
doctor_program() {
  local program=$CARGO_TARGET_DIR/debug/rateguard-control-plane
  [[ -x $program ]] || return 0
  DATABASE_URL=$DATABASE_URL REDIS_URL=${REDIS_URL:-} LIMITS_URL=http://$LIMITS_ADDR LIMITS_TOKEN=${LIMITS_TOKEN:-} \
    KAFKA_BROKERS=${KAFKA_BROKERS:-} CLICKHOUSE_URL=${CLICKHOUSE_URL:-} ENVOY_ADMIN_URL=$ENVOY_ADMIN_URL GATEWAY_PUBLIC_URL=$GATEWAY_URL DOCTOR_API_KEY=$DEMO_API_KEY \
    "$program" doctor | sed 's/^/  /' || DOCTOR_FAILURES=$((DOCTOR_FAILURES + 1))
}

answers() {
  local wanted=$1
  shift
  [[ $(curl --noproxy '*' --silent --output /dev/null --max-time 5 --write-out '%{http_code}' "$@") == "$wanted" ]]
}

chat() {
  answers "$1" "$GATEWAY_URL/proxy/openai/v1/chat/completions" -H "Authorization: Bearer $2" -H 'Content-Type: application/json' \
    -d '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}'
}
