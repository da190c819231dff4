package dcrtest

import dcr "github.com/fosite-contrib/fosite-dcr"

// UncountedStore hides CountClients by a method of another form.
type UncountedStore struct{ *dcr.MemoryStore }

// CountClients is not that of dcr.ClientLister.
func (UncountedStore) CountClients() {}

// UnrevokingStore hides RevokeClientGrants by a method of another form.
type UnrevokingStore struct{ *dcr.MemoryStore }

// RevokeClientGrants is not that of dcr.GrantRevoker.
func (UnrevokingStore) RevokeClientGrants() {}
