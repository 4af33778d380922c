// Reads a server's binlog with @vlasky/zongji or @powersync/mysql-zongji and prints a JSON line for
// each event. Arguments: the package, and a JSON object as in mysql-replication.py, with
//   metadata   asked for the tables' columns (a relay has no tables); everything else goes to `server`
//   schema     whose rows are wanted: {"database": ["table", …]}, for tables that are still there
// BINRELAY_NODE_MODULES says where the packages are.

import { writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(`${process.env.BINRELAY_NODE_MODULES}/`);
const load = async (name) => (await import(pathToFileURL(require.resolve(name)))).default;

const [packageName, json] = process.argv.slice(2);
const options = JSON.parse(json);
const isVlasky = packageName === '@vlasky/zongji';
const ZongJi = await load(packageName);
const mysql = await load(isVlasky ? 'mysql2' : '@vlasky/mysql');

const connection = ({ host, port, user, password }) => ({
  // Without TLS this one cannot log in with caching_sha2_password.
  ...(isVlasky || options.mariadb ? {} : { ssl: { rejectUnauthorized: false } }),
  host, port, user, password, supportBigNumbers: true, bigNumberStrings: true, dateStrings: true,
});

// Only the columns' names come from the other server: the login, the checksum, the list of logs
// and everything else are asked of `server`.
const metadata = options.metadata && mysql.createConnection(connection(options.metadata));
class Reader extends ZongJi {
  _fetchTableInfo(event, next) {
    const own = this.ctrlConnection;
    this.ctrlConnection = metadata ?? own;
    try {
      super._fetchTableInfo(event, next);
    } finally {
      this.ctrlConnection = own;
    }
  }
}

// What belongs to the reader and not to the event.
const SKIPPED = new Set(['tableMap', 'zongji', 'useChecksum']);
const plain = (key, value) => {
  if (SKIPPED.has(key) || key.startsWith('_')) return undefined;
  if (typeof value === 'bigint') return value.toString();
  return value;
};
const print = (line) => writeSync(1, `${JSON.stringify(line, plain)}\n`);

let ended = false;
const end = (code) => {
  ended = true;
  process.exit(code);
};

const reader = new Reader(connection(options.server));
reader.on('binlog', (event) => {
  if (ended) return;
  const { timestamp, nextPosition, ...fields } = event;
  print({
    type: event.getTypeName(),
    end_position: nextPosition,
    timestamp,
    ...fields,
    // A getter in one of the packages.
    rows: event.rows,
  });
  if (event.getTypeName() === 'Rotate' && event.binlogName === options.stop_file) end(0);
});
reader.on('error', (error) => {
  print({ type: 'ERROR', code: error.code, message: error.message });
  // All are fatal but the notice of events that the package cannot decode.
  if (error.fatal || error.code || /Insufficient permissions/.test(error.message)) end(1);
});
reader.start({
  serverId: options.server_id ?? 78,
  filename: options.file,
  position: options.position,
  startAtEnd: options.start_at_end,
  gtidSet: options.gtid,
  requestAnnotateRows: options.mariadb,
  includeSchema: options.schema,
});
