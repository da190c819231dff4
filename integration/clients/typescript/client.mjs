// A client on the TypeScript SDK of the Model Context Protocol.
//
//     node client.mjs COMMAND URL-OF-THE-MCP-SERVER OPTIONS-AS-JSON
//
// does one of the commands below, and prints one JSON object of what came of it, of what
// was sent and answered, and of what the client keeps.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import * as sdk from '@modelcontextprotocol/sdk/client/auth.js';
import { ClientCredentialsProvider, PrivateKeyJwtProvider } from '@modelcontextprotocol/sdk/client/auth-extensions.js';
import { Notes } from './notes.mjs';
import { Provider } from './provider.mjs';

const [command, resource, json] = process.argv.slice(2);
const options = JSON.parse(json);
const notes = new Notes();
const fetchFn = notes.fetch;
const provider = new Provider(options, notes);

function newTransport(authProvider) {
  return new StreamableHTTPClientTransport(new URL(resource), { authProvider, fetch: fetchFn });
}

// call connects and calls the tool that says who calls.
async function call(transport) {
  const client = new Client({ name: 'client', version: '1' });
  await client.connect(transport);
  try {
    const { content } = await client.callTool({ name: 'whoami' });
    return content[0].text;
  } finally {
    await transport.terminateSession();
    await client.close();
  }
}

// use calls, and signs in where the SDK asks for it.
async function use() {
  const transport = newTransport(provider);
  try {
    return await call(transport);
  } catch (error) {
    if (!(error instanceof sdk.UnauthorizedError)) {
      throw error;
    }
  }
  await transport.finishAuth(provider.takeCode());
  return call(newTransport(provider));
}

const commands = {
  use,

  // expired uses the client after its access token has ended.
  expired() {
    provider.expire();
    return use();
  },

  // begin registers and goes to the browser.
  begin: () => sdk.auth(provider, { serverUrl: resource, fetchFn }),

  // finish redeems the code from there.
  finish: () => sdk.auth(provider, { serverUrl: resource, authorizationCode: provider.takeCode(), fetchFn }),

  // refresh asks for a new token, and keeps it.
  async refresh() {
    const { authorizationServerUrl, authorizationServerMetadata: metadata } = await sdk.discoverOAuthServerInfo(resource, { fetchFn });
    const tokens = await sdk.refreshAuthorization(authorizationServerUrl, {
      metadata, clientInformation: provider.clientInformation(), refreshToken: options.refreshToken, resource, fetchFn,
    });
    provider.saveTokens(tokens);
  },

  // discover reads the metadata of the server in each of the SDK's ways.
  async discover() {
    const found = await sdk.discoverOAuthServerInfo(resource, { fetchFn });
    const url = found.authorizationServerUrl;
    return {
      ...found,
      direct: await sdk.discoverAuthorizationServerMetadata(url, { fetchFn }),
      deprecated: await sdk.discoverOAuthMetadata(url, {}, fetchFn),
    };
  },

  // register registers what it is told to.
  async register() {
    const { authorizationServerUrl, authorizationServerMetadata: metadata } = await sdk.discoverOAuthServerInfo(resource, { fetchFn });
    return sdk.registerClient(authorizationServerUrl, { metadata, clientMetadata: options.metadata, scope: options.scope, fetchFn });
  },

  // service calls without a user.
  service() {
    const extension = options.service.privateKey ? PrivateKeyJwtProvider : ClientCredentialsProvider;
    return call(newTransport(new extension(options.service)));
  },
};

const report = {};
try {
  report.result = await commands[command]();
} catch (error) {
  report.error = { name: error.constructor.name, code: error.errorCode ?? '', message: error.message, status: Number(error.code) || 0 };
}
console.log(JSON.stringify({ ...report, ...notes, fetch: undefined, kept: provider.kept }));
