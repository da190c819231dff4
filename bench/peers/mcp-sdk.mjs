// The registration handler of the TypeScript SDK of the Model Context Protocol, over a map. It has no management.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import express from 'express';
import { clientRegistrationHandler } from '@modelcontextprotocol/sdk/server/auth/handlers/register.js';
import { listen } from './common.mjs';

const clients = new Map();
const clientsStore = {
  getClient: id => clients.get(id),
  registerClient: client => {
    clients.set(client.client_id, client);
    return client;
  },
};

const app = express();
app.use('/register', clientRegistrationHandler({ clientsStore, rateLimit: false }));
const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const { version } = JSON.parse(readFileSync(new URL('node_modules/@modelcontextprotocol/sdk/package.json', import.meta.url)));
  listen(server, '@modelcontextprotocol/sdk', version, app);
});
