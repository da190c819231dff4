// What the SDK sends to the authorization server, and is answered.
export class Notes {
  registrations = [];
  authorizations = [];
  tokenRequests = [];
  // What the SDK told the provider to forget.
  invalidated = [];

  // fetch is given to the SDK.
  fetch = async (url, init) => {
    const response = await fetch(url, init);
    const { status } = response;
    switch (new URL(url).pathname) {
      case '/register':
        this.registrations.push({
          status,
          retryAfter: response.headers.get('retry-after') ?? '',
          sent: JSON.parse(init.body),
          answer: await response.clone().text(),
        });
        break;
      case '/oauth2/token':
        this.tokenRequests.push({
          status,
          basic: new Headers(init.headers).has('authorization'),
          form: Object.fromEntries(init.body),
          error: (await response.clone().json()).error ?? '',
        });
    }
    return response;
  };

  // visit goes to an authorization URL like a browser whose user consents, and returns
  // what the redirect brings to the client. Where there is no redirect the user reads the
  // page, and the client hears nothing.
  async visit(url) {
    const response = await fetch(url, { redirect: 'manual' });
    const seen = { status: response.status, asked: Object.fromEntries(url.searchParams), landed: '', brought: {}, page: '' };
    this.authorizations.push(seen);
    const location = response.headers.get('location');
    if (location === null) {
      seen.page = await response.text();
      return undefined;
    }
    const target = new URL(location);
    seen.brought = Object.fromEntries(target.searchParams);
    target.search = '';
    seen.landed = target.href;
    return seen.brought;
  }
}
