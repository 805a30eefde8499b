// Reads byte streams as two HTTP/1.1 servers would: node's own (llhttp) and http-parser-js.
//
// Each line on stdin is one stream in hexadecimal; each line on stdout is what each parser made of it.
'use strict';

const http = require('node:http');
const { Duplex } = require('node:stream');
const readline = require('node:readline');
const { HTTPParser } = require('http-parser-js');

HTTPParser.encoding = 'latin1';
// It counts what it was given at once, bodies too.
HTTPParser.maxHeaderSize = Infinity;

// [name, value, name, value, ...] as pairs.
function fields(flat) {
  const pairs = [];
  for (let i = 0; i < flat.length; i += 2) {
    pairs.push([flat[i].toLowerCase(), flat[i + 1].replace(/^[ \t]+|[ \t]+$/g, '')]);
  }
  return pairs;
}

function request(method, target, head, chunks, trailers) {
  return { method, target, fields: fields(head), body: Buffer.concat(chunks).toString('hex'), trailers: fields(trailers) };
}

class Connection extends Duplex {
  _read() {}
  _write(_chunk, _encoding, done) { done(); }
  setTimeout() {}
  setKeepAlive() {}
  setNoDelay() {}
}

// Waits until three turns of the event loop have changed nothing.
async function settle(progress) {
  for (let still = 0, before = progress(); still < 3; still += 1) {
    await new Promise((next) => setImmediate(next));
    if (progress() !== before) [still, before] = [-1, progress()];
  }
}

function readNode(bytes) {
  return new Promise((resolve) => {
    const requests = [];
    let events = 0;
    const connection = new Connection();
    let open = 0;
    let end = 'whole';
    const server = http.createServer({ maxHeaderSize: 1 << 20, insecureHTTPParser: false }, (incoming, response) => {
      const chunks = [];
      open += 1;
      events += 1;
      incoming.on('data', (chunk) => {
        events += 1;
        chunks.push(chunk);
      });
      incoming.on('end', () => {
        open -= 1;
        events += 1;
        requests.push(request(incoming.method, incoming.url, incoming.rawHeaders, chunks, incoming.rawTrailers));
        response.end();
      });
      incoming.on('error', () => {});
    });
    server.maxHeadersCount = 0;
    server.maxRequestsPerSocket = 0;
    server.on('clientError', (error, socket) => {
      end = error.code === 'HPE_INVALID_EOF_STATE' || error.code === 'ECONNRESET' ? 'cut' : `error: ${error.code}`;
      settle(() => events).then(() => socket.destroy());
    });
    server.on('upgrade', (incoming) => {
      requests.push(request(incoming.method, incoming.url, incoming.rawHeaders, [], []));
      end = 'upgraded';
      connection.destroy();
    });
    connection.on('close', () => resolve({ requests, end: end === 'whole' && open > 0 ? 'cut' : end }));
    server.emit('connection', connection);
    connection.push(bytes);
    // An end that comes at once would abort requests that are parsed but not yet handed over.
    settle(() => events).then(() => connection.push(null));
  });
}

function readHttpParserJs(bytes) {
  const parser = new HTTPParser(HTTPParser.REQUEST);
  const requests = [];
  let head = null;
  let upgraded = false;
  let chunks = [];
  let trailers = [];
  parser[HTTPParser.kOnHeadersComplete] = (info) => {
    head = { method: HTTPParser.methods[info.method], target: info.url, headers: info.headers };
    upgraded = info.upgrade;
    chunks = [];
    trailers = [];
  };
  parser[HTTPParser.kOnHeaders] = (found) => { trailers = found; };
  parser[HTTPParser.kOnBody] = (chunk, offset, length) => { chunks.push(Buffer.from(chunk.subarray(offset, offset + length))); };
  parser[HTTPParser.kOnMessageComplete] = () => {
    requests.push(request(head.method, head.target, head.headers, chunks, trailers));
    head = null;
  };
  try {
    const read = parser.execute(bytes);
    if (read instanceof Error) return { requests, end: `error: ${read.message}` };
    if (upgraded) return { requests, end: 'upgraded' };
    if (parser.finish() instanceof Error) return { requests, end: 'cut' };
    return { requests, end: parser.line === '' && head === null ? 'whole' : 'cut' };
  } catch (error) {
    return { requests, end: `error: ${error.message}` };
  }
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const bytes = Buffer.from(line.trim(), 'hex');
    const readings = { node: await readNode(bytes), 'http-parser-js': readHttpParserJs(bytes) };
    process.stdout.write(`${JSON.stringify(readings)}\n`);
  }
})();
