import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';

// Provider is an OAuthClientProvider that keeps everything in a file, as a program does
// that is started anew. The SDK checks neither state nor iss of what the browser brings:
// this does it.
//
// Options: file, metadata (to register), redirect (to authorize with), withState, and
// neverForgets, for a provider without the optional invalidateCredentials.
export class Provider {
  constructor(options, notes) {
    this.options = options;
    this.notes = notes;
    this.kept = existsSync(options.file) ? JSON.parse(readFileSync(options.file, 'utf8')) : {};
    if (options.withState) {
      this.state = () => this.keep('state', randomUUID());
    }
    if (options.neverForgets) {
      this.invalidateCredentials = undefined;
    }
  }

  keep(name, value) {
    this.kept[name] = value;
    writeFileSync(this.options.file, JSON.stringify(this.kept));
    return value;
  }

  get redirectUrl() { return this.options.redirect; }
  get clientMetadata() { return this.options.metadata; }

  clientInformation() { return this.kept.client; }
  saveClientInformation(client) { this.keep('client', client); }

  tokens() { return this.kept.tokens; }
  saveTokens(tokens) { this.keep('tokens', tokens); }

  codeVerifier() { return this.kept.verifier; }
  saveCodeVerifier(verifier) { this.keep('verifier', verifier); }

  saveDiscoveryState(found) { this.metadata = found.authorizationServerMetadata; }

  async redirectToAuthorization(url) {
    this.keep('code', undefined);
    const brought = await this.notes.visit(url);
    if (brought?.code === undefined) {
      return;
    }
    if (brought.state !== this.kept.state) {
      throw new Error('the browser brought another state');
    }
    if (this.metadata.authorization_response_iss_parameter_supported && brought.iss !== this.metadata.issuer) {
      throw new Error('the browser comes from another issuer');
    }
    this.keep('code', brought.code);
  }

  takeCode() {
    const { code } = this.kept;
    this.keep('code', undefined);
    if (code === undefined) {
      throw new Error('the browser brought no code');
    }
    return code;
  }

  // expire replaces the access token with one that no server knows, and the refresh token
  // where the options have another.
  expire() {
    const { refresh_token } = this.kept.tokens;
    this.saveTokens({ ...this.kept.tokens, access_token: 'expired', refresh_token: this.options.refreshToken ?? refresh_token });
  }

  invalidateCredentials(what) {
    this.notes.invalidated.push(what);
    const names = { all: ['client', 'tokens', 'verifier'], client: ['client'], tokens: ['tokens'], verifier: ['verifier'] }[what] ?? [];
    names.forEach(name => this.keep(name, undefined));
  }
}
