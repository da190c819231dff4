// oidc-provider with registration and management open, and the clients and tokens in maps without a bound: its own
// memory adapter keeps a thousand entries.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';
import { listen } from './common.mjs';

class Memory {
  constructor() { this.kept = new Map(); }
  async upsert(id, payload) { this.kept.set(id, payload); }
  async find(id) { return this.kept.get(id); }
  async findByUid() {}
  async findByUserCode() {}
  async consume(id) { this.kept.get(id).consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { this.kept.delete(id); }
  async revokeByGrantId() {}
}

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const provider = new Provider(`http://127.0.0.1:${server.address().port}`, {
    adapter: Memory,
    scopes: ['openid', 'offline_access', 'profile', 'email'],
    clients: [{
      client_id: 'static', client_secret: 'the-secret-of-the-static-client',
      grant_types: ['client_credentials'], redirect_uris: [], response_types: [], scope: 'profile email',
    }],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      registration: { enabled: true },
      registrationManagement: { enabled: true, rotateRegistrationAccessToken: true },
    },
    routes: { registration: '/register', token: '/token', introspection: '/introspect' },
  });
  const { version } = JSON.parse(readFileSync(new URL('node_modules/oidc-provider/package.json', import.meta.url)));
  listen(server, 'oidc-provider', version, provider.callback());
});
