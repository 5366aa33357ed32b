# Sourced by ./dev: ClickHouse's engine (PyPI's chdb-core behind deploy/local/clickhouse_bridge.py) and Apache Kafka
# (from Maven Central), each in a folder of the cache that is named by its version. Nothing is done when they are there,
# or when CLICKHOUSE_URL or KAFKA_BROKERS names servers of your own.
# shellcheck shell=bash

ensure_clickhouse() {
  [[ -z ${CLICKHOUSE_URL:-} && $RATEGUARD_CHDB_PYTHON == "$CHDB_HOME/bin/python" ]] || return 0
  # Without its dependencies: they are for data frames, and larger than everything else together.
  python_home "$CHDB_HOME" --no-deps "chdb-core==$CHDB_VERSION"
}

ensure_kafka() {
  [[ -z ${KAFKA_BROKERS:-} && $RATEGUARD_KAFKA_JARS == "$KAFKA_HOME/jars" ]] || return 0
  ensure_java
  [[ -d $KAFKA_HOME/jars ]] && return
  say "installing Apache Kafka $KAFKA_VERSION"
  mkdir -p "$KAFKA_HOME"
  # Made aside and moved when whole, so that a broken download leaves nothing behind that looks like success.
  local aside=$KAFKA_HOME/jars.$$
  mvn --quiet --batch-mode -Dstyle.color=never --file deploy/local/kafka.pom.xml "-Dkafka.version=$KAFKA_VERSION" \
    dependency:copy-dependencies "-DoutputDirectory=$aside" -DincludeScope=runtime </dev/null >&2 || {
    rm -rf "$aside"
    die "Maven could not fetch Apache Kafka; set KAFKA_BROKERS to use a broker of your own"
  }
  mv -T "$aside" "$KAFKA_HOME/jars" 2>/dev/null || rm -rf "$aside"
  [[ -d $KAFKA_HOME/jars ]]
}

has_java() { have java && (($(java_version) >= 17)); }

# The major version of the Java on PATH; 0 for none.
java_version() {
  local text
  text=$(java -version 2>&1) || { echo 0; return; }
  grep -oE '"[0-9]+' <<<"$text" | head -n 1 | tr -d '"' || echo 0
}

# Debian's Maven brings a Java of its own release; Debian 12 and later have 17 or newer.
ensure_java() {
  has_java && { [[ -d $KAFKA_HOME/jars ]] || have mvn; } && return
  is_debian || die "Kafka needs Java 17 or later and Maven (brew install maven), or KAFKA_BROKERS"
  apt_install maven default-jre-headless
}
