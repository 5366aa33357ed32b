"""ClickHouse's HTTP interface over its engine in this process (PyPI's chdb-core), for machines without a server.

usage: clickhouse_bridge.py --data FOLDER [--listen 127.0.0.1:8123] [--concurrency 4]

What it speaks: GET and POST /, /ping; the statement in `query`, in the body, or in a multipart form; rows of an INSERT
as the body, in any input format; `database`, `default_format`, `param_*`; every other URL parameter as a setting;
errors as ClickHouse words them, with X-ClickHouse-Exception-Code, also after a result has begun to stream.
What it does not: compression, sessions, users, query ids. An INSERT begins when its whole body is there, so that a
client which goes away inserts nothing.

Data lives in the folder and survives a kill. Prints `listening ADDRESS` when it can answer; port 0 takes a free one.
"""

import argparse
import contextlib
import os
import queue
import re
import secrets
import signal
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from chdb.state.sqlitelike import Connection

# Of one request, rows of an INSERT included.
BODY_BYTES_MAX = 512 * 1024 * 1024
# A result up to here is sent whole, so that an error in it still is an HTTP error; from here on it streams.
HELD_BYTES = 256 * 1024
# How long a request waits for a connection to the engine.
WAIT_SECONDS = 60

# URL parameters that are no settings. The engine here has no sessions, users or query ids.
NOT_SETTINGS = {
    "buffer_size", "close_session", "compress", "database", "decompress", "default_format", "enable_http_compression",
    "password", "query", "query_id", "quota_key", "role", "session_check", "session_id", "session_timeout",
    "stacktrace", "user", "wait_end_of_query",
}
COMMENTS = r"\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*"
IS_INSERT = re.compile(COMMENTS + r"INSERT\b", re.IGNORECASE | re.DOTALL)
IS_SELECT = re.compile(COMMENTS + r"\(*\s*(?:SELECT|WITH)\b", re.IGNORECASE | re.DOTALL)
INPUT_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
INLINE_VALUES = re.compile(r"\bVALUES\s*;?\s*$", re.IGNORECASE)
OUTPUT_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*(?:SETTINGS\s[^()]*)?;?\s*$", re.IGNORECASE)
# Formats whose rows follow each other with nothing around them. Of the others the engine makes a whole per block, with
# names or brackets each: they are answered at once, but for those whose names can be left out from the second block on.
STREAMED = {"CSV", "JSONEachRow", "Native", "RowBinary", "TSV", "TabSeparated"}
STREAMED_WITH_NAMES = {"RowBinaryWithNames": 1, "RowBinaryWithNamesAndTypes": 2}
CODE = re.compile(r"Code: (\d+)\. DB::")

# As ClickHouse's exceptionCodeToHTTPStatus; what is not named is 500.
STATUS_OF_CODE = {
    **dict.fromkeys((6, 26, 27, 32, 33, 36, 38, 41, 42, 43, 44, 53, 62, 69, 70, 72, 117, 130, 427, 456, 457), 400),
    **dict.fromkeys((16, 46, 47, 50, 56, 60, 63, 81, 115), 404),
    48: 501, 159: 408, 192: 403, 202: 503, 497: 403, 516: 403,
}


class Refused(Exception):
    """A request that the bridge itself cannot serve."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


class Engine:
    """A few connections to the one engine of this process; each runs a statement at a time."""

    def __init__(self, folder, concurrency):
        self.idle = queue.LifoQueue()
        for _ in range(concurrency):
            self.idle.put(Connection(folder))

    @contextlib.contextmanager
    def connection(self, database, settings):
        """A connection that is in a database and has settings, for the time of one statement."""
        try:
            connection = self.idle.get(timeout=WAIT_SECONDS)
        except queue.Empty:
            message = "Code: 202. DB::Exception: Too many simultaneous queries. (TOO_MANY_SIMULTANEOUS_QUERIES)"
            raise RuntimeError(message) from None
        try:
            connection.query(f"USE {identifier(database)}")
            if settings:
                connection.query("SET " + ", ".join(f"{name} = {literal(value)}" for name, value in settings.items()))
            yield connection
        finally:
            # One by one: a name that the engine refused must not keep the others.
            for name in settings:
                with contextlib.suppress(Exception):
                    connection.query(f"SET {name} = DEFAULT")
            self.idle.put(connection)

    def close(self):
        while not self.idle.empty():
            self.idle.get_nowait().close()


def identifier(name):
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def literal(value):
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def code_of(text):
    """The number of the last exception that a text names; 1001 (an exception of the standard library) for none."""
    codes = CODE.findall(text)
    return int(codes[-1]) if codes else 1001


def worded(error):
    """An error in ClickHouse's own words: what Python puts before them goes."""
    text = str(error)
    begin = text.find("Code: ")
    return text[begin:] if begin >= 0 else f"Code: 1001. DB::Exception: {text} (STD_EXCEPTION)"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024
    timeout = 300
    engine = None

    def log_message(self, *_):
        """Statements may hold data; errors go to the client."""

    def do_GET(self):
        self.serve()

    def do_POST(self):
        self.serve()

    def serve(self):
        try:
            body = self.body()
            url = urlsplit(self.path)
            fields = dict(parse_qsl(url.query, keep_blank_values=True))
            if url.path == "/ping" or (not fields and not body):
                return self.answer(200, b"Ok.\n")
            if url.path != "/":
                raise Refused(404, f"There is no handle {url.path}")
            self.run(fields, body)
        except Refused as refused:
            self.close_connection = True
            self.answer(refused.status, f"{refused}\n".encode())
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except Exception as error:  # Whatever the engine says goes to the client.
            self.fail(worded(error))

    def run(self, fields, body):
        if fields.get("compress", "0") != "0" or fields.get("decompress", "0") != "0":
            raise Refused(501, "Code: 48. DB::Exception: the bridge does not compress. (NOT_IMPLEMENTED)")
        if self.headers.get("content-encoding"):
            raise Refused(501, "Code: 48. DB::Exception: the bridge does not decompress. (NOT_IMPLEMENTED)")
        kind = self.headers.get_content_type()
        if kind == "multipart/form-data":
            fields.update(multipart(body, self.headers.get_boundary()))
            body = b""
        statement = fields.get("query", "")
        settings, parameters = {}, {}
        for name, value in fields.items():
            if name.startswith("param_"):
                parameters[name.removeprefix("param_")] = value
            elif name not in NOT_SETTINGS:
                if not re.fullmatch(r"\w+", name):
                    raise Refused(400, f"Code: 115. DB::Exception: Unknown setting {name}. (UNKNOWN_SETTING)")
                settings[name] = value
        output = fields.get("default_format", "TabSeparated")
        with self.engine.connection(fields.get("database") or "default", settings) as connection:
            if statement and body and IS_INSERT.match(statement):
                insert(connection, statement, body)
                return self.answer(200, b"")
            text = f"{statement}\n{body.decode()}" if statement else body.decode()
            named = OUTPUT_FORMAT.search(text)
            kind = named.group(1) if named else output
            if IS_SELECT.match(text) and (kind in STREAMED or kind in STREAMED_WITH_NAMES):
                self.stream(connection, text, output, parameters, STREAMED_WITH_NAMES.get(kind, 0))
            else:
                self.answer(200, connection.query(text, output, params=parameters).bytes() or b"")

    def stream(self, connection, text, output, parameters, name_lists):
        """Holds back the beginning of a result; what is larger goes out in chunks."""
        held, tag, names = bytearray(), None, None
        with connection.send_query(text, output, params=parameters) as result:
            try:
                for part in result:
                    block = part.bytes()
                    if names is None:
                        names = binary_names(block, name_lists)
                    elif block.startswith(names):
                        block = block[len(names) :]
                    held += block
                    if len(held) >= HELD_BYTES:
                        tag = tag or self.begin_chunks()
                        self.chunk(held)
                        held.clear()
            except (BrokenPipeError, ConnectionResetError):
                raise
            except Exception as error:
                if tag is None:
                    raise
                # The form of ClickHouse 25.11 and later; the client knows it by the tag in the header.
                said = (worded(error) + "\n").encode()
                trailer = f"{len(said)} {tag}\r\n__exception__\r\n".encode()
                self.chunk(b"\r\n__exception__\r\n" + tag.encode() + b"\r\n" + said + trailer)
                self.close_connection = True
                return self.chunk(b"")
        if tag is None:
            # A stream without rows has nothing in it, not even what a format puts before its rows.
            whole = bytes(held) or connection.query(text, output, params=parameters).bytes() or b""
            return self.answer(200, whole)
        if held:
            self.chunk(held)
        self.chunk(b"")

    def begin_chunks(self):
        tag = secrets.token_hex(8)
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("X-ClickHouse-Exception-Tag", tag)
        self.end_headers()
        return tag

    def chunk(self, data):
        """One chunk, the last when there is nothing in it."""
        self.wfile.write(b"%x\r\n" % len(data))
        self.wfile.write(data)
        self.wfile.write(b"\r\n")

    def fail(self, text):
        code = code_of(text)
        self.answer(STATUS_OF_CODE.get(code, 500), f"{text}\n".encode(), {"X-ClickHouse-Exception-Code": str(code)})

    def answer(self, status, body, headers=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return self.chunked_body()
        length = int(self.headers.get("content-length") or 0)
        if length > BODY_BYTES_MAX:
            raise Refused(413, "the body is too large")
        return self.exactly(length)

    def chunked_body(self):
        body = bytearray()
        while True:
            size = int(self.rfile.readline(64).split(b";")[0], 16)
            if len(body) + size > BODY_BYTES_MAX:
                raise Refused(413, "the body is too large")
            body += self.exactly(size)
            self.rfile.readline(64)
            if size == 0:
                return bytes(body)

    def exactly(self, length):
        data = self.rfile.read(length)
        if len(data) < length:
            raise ConnectionResetError("the client went away within its request")
        return data


def insert(connection, statement, rows):
    """An INSERT whose rows came as the body. All of them are one block up to max_insert_block_size.

    By way of a file: the engine's own streaming insert keeps some errors to itself (too many parts, a view that throws)
    and says that rows were written which were not.
    """
    named = INPUT_FORMAT.search(statement)
    target = statement[: named.start()] if named else INLINE_VALUES.sub("", statement)
    with tempfile.NamedTemporaryFile(prefix="rateguard-insert-") as file:
        file.write(rows)
        file.flush()
        kind = named.group(1) if named else "Values"
        connection.query(f"{target} FROM INFILE {literal(file.name)} FORMAT {kind}")


def binary_names(block, name_lists):
    """What RowBinaryWithNames[AndTypes] puts before its rows: a count, and so many strings once or twice."""

    def variable_length(position):
        value, shift = 0, 0
        while True:
            byte = block[position]
            value |= (byte & 0x7F) << shift
            position, shift = position + 1, shift + 7
            if byte < 0x80:
                return value, position

    if name_lists == 0:
        return b""
    count, position = variable_length(0)
    for _ in range(count * name_lists):
        length, position = variable_length(position)
        position += length
    return block[:position]


def multipart(body, boundary):
    """The fields of a form. Files are none of ClickHouse's parameters here."""
    fields = {}
    for part in body.split(b"--" + boundary.encode())[1:-1]:
        head, _, value = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]*)"', head)
        if name:
            fields[name.group(1).decode()] = value.removesuffix(b"\r\n").decode()
    return fields


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", required=True, help="the folder that holds the databases; made when missing")
    arguments.add_argument("--listen", default="127.0.0.1:8123", help="address:port; port 0 takes a free one")
    arguments.add_argument("--concurrency", type=int, default=4, help="statements that run at the same time")
    chosen = arguments.parse_args()
    os.makedirs(chosen.data, exist_ok=True)
    host, _, port = chosen.listen.rpartition(":")
    with Server((host, int(port)), Handler) as server:
        Handler.engine = Engine(chosen.data, chosen.concurrency)
        # Not from the signal's own frame: shutdown waits for the loop that the signal has interrupted.
        end = lambda *_: threading.Thread(target=server.shutdown).start()
        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        print("listening %s:%d" % server.server_address, flush=True)
        server.serve_forever(poll_interval=0.1)
        Handler.engine.close()
    os._exit(0)


if __name__ == "__main__":
    main()
