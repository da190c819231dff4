package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v3"
)

// keys are what all processes with one storage have in common, also after a restart: a token or a page that one process
// has made is good at the others. A production server keeps its keys in a secret manager, and of passwords only slow
// hashes. Here all lie in the database, so that the example needs nothing beside it. Whoever can read the database can
// make tokens.
//
// Each process has for itself who is signed in, which consents users have given, what callers may still send (-rate), and
// the history on the operator's pages. So a load balancer has to send a browser to the same process each time, and after a
// restart users sign in again.
type keys struct {
	Signing          *jose.JSONWebKey // signs ID tokens and JWT access tokens
	Secret           []byte           // fosite's: of codes, opaque tokens and refresh tokens
	Sealing          []byte           // of requests that wait in browsers
	UserPassword     string
	OperatorPassword string
}

func newKeys() (*keys, error) {
	// RS256 is what every OpenID client can verify.
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	k := &keys{
		Signing:          &jose.JSONWebKey{Key: key, KeyID: rand.Text(), Algorithm: string(jose.RS256), Use: "sig"},
		Secret:           make([]byte, 32),
		Sealing:          make([]byte, 32),
		UserPassword:     rand.Text(),
		OperatorPassword: rand.Text(),
	}
	_, _ = rand.Read(k.Secret) // never fails: it ends the program instead
	_, _ = rand.Read(k.Sealing)
	return k, nil
}

// sharedKeys returns the keys of a database. The first process makes them. Of several that start at once one does.
func sharedKeys(ctx context.Context, db *sql.DB) (*keys, error) {
	// Of two processes that create the table at once PostgreSQL refuses one. The table is there then, so what failed
	// matters only where the row is missing in the end.
	_, failed := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS authserver_keys (id INTEGER PRIMARY KEY, value TEXT NOT NULL)`)
	found, err := readKeys(ctx, db)
	if !errors.Is(err, sql.ErrNoRows) {
		return found, withCause(err, failed)
	}
	made, err := newKeys()
	if err != nil {
		return nil, err
	}
	value, err := json.Marshal(made)
	if err != nil {
		return nil, err
	}
	_, failed = db.ExecContext(ctx, `INSERT INTO authserver_keys (id, value) VALUES (1, $1) ON CONFLICT (id) DO NOTHING`, string(value))
	found, err = readKeys(ctx, db) // those of another process, perhaps
	return found, withCause(err, failed)
}

// withCause adds to an error what has failed before.
func withCause(err, cause error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the keys in the table authserver_keys: %w", errors.Join(cause, err))
}

func readKeys(ctx context.Context, db *sql.DB) (*keys, error) {
	var value []byte
	if err := db.QueryRowContext(ctx, `SELECT value FROM authserver_keys WHERE id = 1`).Scan(&value); err != nil {
		return nil, err
	}
	k := &keys{}
	if err := json.Unmarshal(value, k); err != nil {
		return nil, errors.New("the row is not the JSON of this program") // the cause would quote from it
	}
	if k.Signing == nil || len(k.Secret) < 32 || len(k.Sealing) != 32 || k.UserPassword == "" || k.OperatorPassword == "" {
		return nil, errors.New("the row lacks a key")
	}
	return k, nil
}
