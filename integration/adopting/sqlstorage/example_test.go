// Package sqlstorage_test has the storages of docs/storage.md: package sqlstore on each database, and an application's own
// storage over database/sql that takes registered clients in.
package sqlstorage_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // for PostgreSQL
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // for SQLite

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/sqlstore"
	"github.com/fosite-contrib/fosite-dcr/storagetest"
)

// A server with SQLite: what is registered is there after a restart.
func Example_sqlite() {
	ctx, folder := context.Background(), temporary()
	defer func() { _ = os.RemoveAll(folder) }()
	file := filepath.Join(folder, "auth.db")
	for range 2 {
		store, err := sqlstore.Open(ctx, sqlstore.SQLite, file, sqlstore.Options{})
		if err != nil {
			log.Fatal(err)
		}
		store.AddClient(&fosite.DefaultClient{ID: "billing", Secret: hashOf("a secret from 2024"), GrantTypes: []string{"client_credentials"}})
		routes := endpoints(composed(store))
		fmt.Println(tokenStatus(routes, "billing", "a secret from 2024"))
		fmt.Println(register(routes).status)
		fmt.Println(store.CountClients(ctx, dcr.ClientFilter{}, 10))
		if err := store.Close(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// 200 OK
	// 201 Created
	// 1 <nil>
	// 200 OK
	// 201 Created
	// 2 <nil>
}

// session is the application's type.
type session struct {
	fosite.DefaultSession
	Device string
}

func (s *session) Clone() fosite.Session {
	return &session{*s.DefaultSession.Clone().(*fosite.DefaultSession), s.Device}
}

// onPostgreSQL is a store in a pool that the application has anyway, with every option that most servers look at.
func onPostgreSQL(ctx context.Context, source string) (*sqlstore.Store, *sql.DB) {
	db, err := sql.Open("pgx", source) // postgres://USER:PASSWORD@HOST:PORT/DATABASE
	if err != nil {
		log.Fatal(err)
	}
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20) // the default is 2
	store, err := sqlstore.New(ctx, db, sqlstore.PostgreSQL, sqlstore.Options{
		NewSession:   func() fosite.Session { return new(session) },
		MaxClients:   200_000,
		RefreshGrace: 10 * time.Second,
		SweepEvery:   5 * time.Minute,
	})
	if err != nil {
		log.Fatal(err)
	}
	return store, db
}

func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	store, db := onPostgreSQL(t.Context(), dcrtest.PostgreSQL(t))
	defer func() { _ = db.Close() }()
	routes := endpoints(composed(store))
	registered := register(routes)
	require.Equal(t, "201 Created", registered.status)
	require.Equal(t, "200 OK", tokenStatus(routes, registered.ID, registered.Secret))
	require.NoError(t, store.Close())
	require.NoError(t, db.PingContext(t.Context()), "the pool is the application's")
}

// ownTables are those that the application has: its own clients, access tokens, and identifiers of assertions.
const ownTables = `
CREATE TABLE oauth_clients (id TEXT PRIMARY KEY, client TEXT NOT NULL);
CREATE TABLE oauth_access_tokens (signature TEXT PRIMARY KEY, client_id TEXT NOT NULL, expires_at BIGINT NOT NULL, request TEXT NOT NULL);
CREATE TABLE oauth_assertions (jti TEXT PRIMARY KEY, expires_at BIGINT NOT NULL);`

// Storage is the application's. Up to the next comment of this kind it is as it was before registration.
type Storage struct{ db *sql.DB }

func (s *Storage) AddClient(ctx context.Context, client *fosite.DefaultClient) error {
	text, err := json.Marshal(client)
	if err == nil {
		_, err = s.db.ExecContext(ctx, `INSERT INTO oauth_clients (id, client) VALUES ($1, $2)`, client.ID, text)
	}
	return err
}

// ownClient was GetClient.
func (s *Storage) ownClient(ctx context.Context, id string) (fosite.Client, error) {
	client := new(fosite.DefaultClient)
	return found(client, s.readJSON(ctx, client, `SELECT client FROM oauth_clients WHERE id = $1`, id))
}

// readJSON reads the JSON of one row.
func (s *Storage) readJSON(ctx context.Context, into any, query string, args ...any) error {
	var text []byte
	err := s.db.QueryRowContext(ctx, query, args...).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return fosite.ErrNotFound
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// found returns no value beside an error.
func found[T any](value T, err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	return value, nil
}

func (s *Storage) ClientAssertionJWTValid(ctx context.Context, jti string) error {
	var known bool
	err := s.db.QueryRowContext(ctx, `SELECT count(*) > 0 FROM oauth_assertions WHERE jti = $1 AND expires_at > $2`, jti, time.Now().Unix()).Scan(&known)
	if err == nil && known {
		return fosite.ErrJTIKnown
	}
	return err
}

func (s *Storage) SetClientAssertionJWT(ctx context.Context, jti string, expires time.Time) error {
	set, err := s.exec(ctx, `INSERT INTO oauth_assertions (jti, expires_at) VALUES ($1, $2)
		ON CONFLICT (jti) DO UPDATE SET expires_at = excluded.expires_at WHERE oauth_assertions.expires_at <= $3`, jti, expires.Unix()+1, time.Now().Unix())
	if err == nil && set == 0 {
		return fosite.ErrJTIKnown
	}
	return err
}

// storedToken is the JSON of an access token's request.
type storedToken struct {
	ID, Client     string
	RequestedAt    time.Time
	Scope, Granted fosite.Arguments
	Session        json.RawMessage
}

func (s *Storage) CreateAccessTokenSession(ctx context.Context, signature string, r fosite.Requester) error {
	session, err := json.Marshal(r.GetSession())
	if err != nil {
		return err
	}
	text, err := json.Marshal(storedToken{r.GetID(), r.GetClient().GetID(), r.GetRequestedAt(), r.GetRequestedScopes(), r.GetGrantedScopes(), session})
	if err == nil {
		_, err = s.exec(ctx, `INSERT INTO oauth_access_tokens (signature, client_id, expires_at, request) VALUES ($1, $2, $3, $4)
			ON CONFLICT (signature) DO UPDATE SET client_id = excluded.client_id, expires_at = excluded.expires_at, request = excluded.request`,
			signature, r.GetClient().GetID(), r.GetSession().GetExpiresAt(fosite.AccessToken).Unix(), text)
	}
	return err
}

func (s *Storage) GetAccessTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	var stored storedToken
	if err := s.readJSON(ctx, &stored, `SELECT request FROM oauth_access_tokens WHERE signature = $1`, signature); err != nil {
		return nil, err
	}
	client, err := s.clientOf(ctx, stored.Client)
	if err != nil {
		return nil, err
	}
	request := &fosite.Request{ID: stored.ID, Client: client, RequestedAt: stored.RequestedAt, RequestedScope: stored.Scope,
		GrantedScope: stored.Granted, Session: session}
	decoder := json.NewDecoder(bytes.NewReader(stored.Session))
	decoder.UseNumber() // whole numbers keep their value
	return found(request, decoder.Decode(session))
}

func (s *Storage) DeleteAccessTokenSession(ctx context.Context, signature string) error {
	_, err := s.exec(ctx, `DELETE FROM oauth_access_tokens WHERE signature = $1`, signature)
	return err
}

// What follows is what registration adds.

var _ dcr.ClientStorage = (*Storage)(nil)

const registeredClients = `CREATE TABLE IF NOT EXISTS oauth_registered_clients (
	id      TEXT PRIMARY KEY,
	version BIGINT NOT NULL,
	record  TEXT NOT NULL
)`

// GetClient finds your own clients, then registered ones.
func (s *Storage) GetClient(ctx context.Context, id string) (fosite.Client, error) {
	client, err := s.ownClient(ctx, id) // what was GetClient before
	if !errors.Is(err, fosite.ErrNotFound) {
		return client, err
	}
	registered, err := s.GetDynamicClient(ctx, id)
	if err != nil {
		return nil, err // a nil *dcr.Client in an interface would not be nil
	}
	return registered, nil
}

// clientOf finds the client of a stored session. One whose identifier is the URL of its document is in no table.
func (s *Storage) clientOf(ctx context.Context, id string) (fosite.Client, error) {
	client, err := s.GetClient(ctx, id)
	if errors.Is(err, fosite.ErrNotFound) {
		return dcr.ResolveClient(ctx, id)
	}
	return client, err
}

// CreateClient stores a record, unless a client of either kind has its identifier.
func (s *Storage) CreateClient(ctx context.Context, client *dcr.Client) error {
	record, err := json.Marshal(client)
	if err != nil {
		return err
	}
	created, err := s.exec(ctx, `INSERT INTO oauth_registered_clients (id, version, record)
		SELECT $1, $2, $3 WHERE NOT EXISTS (SELECT 1 FROM oauth_clients WHERE id = $1)
		ON CONFLICT (id) DO NOTHING`, client.ID, client.Version, record)
	if err == nil && created == 0 {
		return dcr.ErrClientExists
	}
	return err
}

// GetDynamicClient finds registered clients only.
func (s *Storage) GetDynamicClient(ctx context.Context, id string) (*dcr.Client, error) {
	var record []byte
	err := s.db.QueryRowContext(ctx, `SELECT record FROM oauth_registered_clients WHERE id = $1`, id).Scan(&record)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fosite.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	client := new(dcr.Client)
	if err := json.Unmarshal(record, client); err != nil {
		return nil, err
	}
	return client, nil
}

// UpdateClient replaces a record that has the version.
func (s *Storage) UpdateClient(ctx context.Context, client *dcr.Client, version int64) error {
	stored, err := s.GetDynamicClient(ctx, client.ID)
	if err != nil {
		return err
	}
	next, err := dcr.Replace(stored, client, version)
	if err != nil {
		return err
	}
	record, err := json.Marshal(next)
	if err != nil {
		return err
	}
	changed, err := s.exec(ctx, `UPDATE oauth_registered_clients SET version = $1, record = $2 WHERE id = $3 AND version = $4`,
		next.Version, record, client.ID, version)
	if err == nil && changed == 0 {
		return s.UpdateClient(ctx, client, version) // it was changed or deleted meanwhile: the next read finds out which
	}
	return err
}

// DeleteClient removes a record.
func (s *Storage) DeleteClient(ctx context.Context, id string) error {
	deleted, err := s.exec(ctx, `DELETE FROM oauth_registered_clients WHERE id = $1`, id)
	if err == nil && deleted == 0 {
		return fosite.ErrNotFound
	}
	return err
}

// exec returns how many rows a statement has changed.
func (s *Storage) exec(ctx context.Context, statement string, args ...any) (int64, error) {
	result, err := s.db.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// ownFile is a source for openOwn, in which who meets a lock waits.
func ownFile(folder string) string {
	return "file:" + filepath.Join(folder, "own.db") + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"
}

// openOwn is the application's storage in a new database.
func openOwn(driver, source string) *Storage {
	db, err := sql.Open(driver, source)
	if err == nil {
		db.SetMaxOpenConns(16)
		_, err = db.Exec(ownTables + ";" + registeredClients)
	}
	if err != nil {
		log.Fatal(err)
	}
	return &Storage{db}
}

// An application with its own storage over database/sql: its clients stay as they are, and registered ones come beside them.
func Example_ownStorage() {
	folder := temporary()
	defer func() { _ = os.RemoveAll(folder) }()
	storage := openOwn("sqlite", ownFile(folder))
	defer func() { _ = storage.db.Close() }()
	own := &fosite.DefaultClient{ID: "billing", Secret: hashOf("a secret from 2024"), GrantTypes: []string{"client_credentials"}}
	if err := storage.AddClient(context.Background(), own); err != nil {
		log.Fatal(err)
	}

	routes := endpoints(composed(storage))
	fmt.Println(tokenStatus(routes, "billing", "a secret from 2024"))
	registered := register(routes)
	fmt.Println(registered.status)
	fmt.Println(tokenStatus(routes, registered.ID, registered.Secret))
	fmt.Println(manage(routes, http.MethodDelete, registered))
	fmt.Println(tokenStatus(routes, registered.ID, registered.Secret))
	// Output:
	// 200 OK
	// 201 Created
	// 200 OK
	// 204 No Content
	// 401 Unauthorized
}

// TestOwnStorage: the same code keeps the contract on both databases.
func TestOwnStorage(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		runContract(t, openOwn("sqlite", ownFile(t.TempDir())))
	})
	t.Run("postgresql", func(t *testing.T) {
		t.Parallel()
		runContract(t, openOwn("pgx", dcrtest.PostgreSQL(t)))
	})
}

func runContract(t *testing.T, storage *Storage) {
	t.Helper()
	defer func() { _ = storage.db.Close() }()
	storagetest.Run(t, func(*testing.T) storagetest.Storage { return storage }, storagetest.Options{
		AddStatic: func(ctx context.Context, s storagetest.Storage, client fosite.Client) error {
			return s.(*Storage).AddClient(ctx, client.(*fosite.DefaultClient))
		},
	})
}

// composed is a provider for services, which register with a key.
func composed(storage interface {
	fosite.Storage
	oauth2.AccessTokenStorage
}) *dcr.Provider {
	config := &fosite.Config{AccessTokenIssuer: "https://as.example", GlobalSecret: []byte("thirty-two bytes or more, kept safe")}
	provider, err := dcr.Extend(compose.Compose(config, storage, compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2ClientCredentialsGrantFactory,
		dcr.NewFactory(dcr.Config{Access: dcr.AccessFunc(byKey), Scopes: []string{"notes"}}),
	))
	if err != nil {
		log.Fatal(err)
	}
	return provider
}

const key = "a key of the operator"

func byKey(_ context.Context, r *http.Request) (*dcr.Registrant, error) {
	if r.Header.Get("Authorization") != "Bearer "+key {
		return nil, dcr.ErrInvalidToken
	}
	return &dcr.Registrant{Kind: "operator"}, nil
}

func endpoints(provider *dcr.Provider) http.Handler {
	routes := http.NewServeMux()
	routes.Handle("/register", provider.RegistrationHandler())
	routes.Handle("/register/{client_id}", provider.ManagementHandler())
	routes.HandleFunc("/oauth2/token", func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		request, err := provider.NewAccessRequest(ctx, r, new(session))
		if err != nil {
			provider.WriteAccessError(ctx, w, request, err)
			return
		}
		response, err := provider.NewAccessResponse(ctx, request)
		if err != nil {
			provider.WriteAccessError(ctx, w, request, err)
			return
		}
		provider.WriteAccessResponse(ctx, w, request, response)
	})
	return routes
}

type registration struct {
	status string
	ID     string `json:"client_id"`
	Secret string `json:"client_secret"`
	Token  string `json:"registration_access_token"`
}

func register(routes http.Handler) (answer registration) {
	request := httptest.NewRequest(http.MethodPost, "/register", strings.NewReader(`{"grant_types":["client_credentials"]}`))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+key)
	recorder := httptest.NewRecorder()
	routes.ServeHTTP(recorder, request)
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil {
		log.Fatal(err)
	}
	answer.status = recorder.Result().Status
	return answer
}

func manage(routes http.Handler, method string, client registration) string {
	request := httptest.NewRequest(method, "/register/"+client.ID, nil)
	request.Header.Set("Authorization", "Bearer "+client.Token)
	recorder := httptest.NewRecorder()
	routes.ServeHTTP(recorder, request)
	return recorder.Result().Status
}

func tokenStatus(routes http.Handler, id, secret string) string {
	request := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader("grant_type=client_credentials"))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(id, secret)
	recorder := httptest.NewRecorder()
	routes.ServeHTTP(recorder, request)
	return recorder.Result().Status
}

func hashOf(secret string) []byte {
	hash, err := (&fosite.BCrypt{Config: &fosite.Config{HashCost: 4}}).Hash(context.Background(), []byte(secret))
	if err != nil {
		log.Fatal(err)
	}
	return hash
}

func temporary() string {
	folder, err := os.MkdirTemp("", "sqlstorage")
	if err != nil {
		log.Fatal(err)
	}
	return folder
}
