"""Reads a server's binlog with the package mysql-replication and prints a JSON line for each event.

The one argument is a JSON object:
  server         host, port, user, password
  metadata       another server, asked for the names of columns; without it `server` is
  file, position where to begin; or
  gtid           what is had already: a MySQL set or a MariaDB position ("" for none)
  mariadb        whether the server is one
  stop_file      the ROTATE to this file is the last event
  blocking       wait at the end (until killed) instead of taking an EOF
"""

import datetime
import decimal
import json
import logging
import sys

from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.event import RotateEvent
from pymysqlreplication.row_event import RowsEvent

# The reader's own state, the same for all events.
NOT_OF_THE_EVENT = {
    "packet", "table_map", "dbms", "event_size", "table_map_event", "charset",
    # How the client works, not what it received.
    "complete", "mysql_version", "timestamp", "event_type",
}


def plain(value, depth=0):
    """What JSON can hold, the same for the same value in every run."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, (bytes, bytearray)):
        return "x" + value.hex()
    if isinstance(value, (decimal.Decimal, datetime.date, datetime.time, datetime.timedelta)):
        return str(value)
    if isinstance(value, dict):
        return {str(plain(key)): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(str(plain(item)) for item in value)
    if isinstance(value, (list, tuple)):
        return [plain(item, depth + 1) for item in value]
    if depth < 6 and hasattr(value, "__dict__"):
        return attributes(value, depth + 1)
    return type(value).__name__


def attributes(thing, depth=0):
    return {
        name: plain(value, depth)
        for name, value in vars(thing).items()
        if not name.startswith("_") and name not in NOT_OF_THE_EVENT
    }


def shown(event):
    line = {
        "type": type(event).__name__,
        "type_code": event.event_type,
        "end_position": event.packet.log_pos,
        "timestamp": event.timestamp,
        "server_id": event.packet.server_id,
        "flags": event.packet.flags,
    }
    if isinstance(event, RowsEvent):
        line["table"] = f"{event.schema}.{event.table}"
        line["rows"] = plain(event.rows)
    line.update(attributes(event))
    return line


def connection(server):
    return {
        "host": server["host"],
        "port": server["port"],
        "user": server["user"],
        "passwd": server["password"],
    }


def main():
    logging.disable(logging.CRITICAL)
    options = json.loads(sys.argv[1])
    metadata = options.get("metadata")
    is_mariadb = options.get("mariadb", False)
    reader = BinLogStreamReader(
        connection_settings=connection(options["server"]),
        ctl_connection_settings=connection(metadata) if metadata else None,
        use_column_name_cache=metadata is not None,
        server_id=options.get("server_id", 77),
        log_file=options.get("file"),
        log_pos=options.get("position"),
        auto_position=options.get("gtid"),
        resume_stream=options.get("file") is not None,
        blocking=options.get("blocking", False),
        is_mariadb=is_mariadb,
        annotate_rows_event=is_mariadb,
        filter_non_implemented_events=False,
        verify_checksum=True,
        enable_logging=False,
    )
    for event in reader:
        print(json.dumps(shown(event), sort_keys=True), flush=True)
        if isinstance(event, RotateEvent) and event.next_binlog == options.get("stop_file"):
            return
    # The server has sent EOF: nothing follows.
    print(json.dumps({"type": "EOF"}), flush=True)


main()
