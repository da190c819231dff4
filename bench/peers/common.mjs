// listen serves a handler on a free port of loopback, prints its URL and its name, answers /heap, and ends with the
// program that started it.
export function listen(server, name, version, handler) {
  server.on('request', (request, response) => {
    if (request.url === '/heap') {
      globalThis.gc();
      response.end(String(process.memoryUsage().heapUsed));
      return;
    }
    handler(request, response);
  });
  server.keepAliveTimeout = 600_000;
  console.log(`http://127.0.0.1:${server.address().port} ${name} ${version} on Node.js ${process.version}`);
  process.stdin.resume().on('end', () => process.exit(0));
}
