package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// rows is how many rows each table has when PostgreSQL is asked for its plans, which depend on it. Those of SQLite do not.
const rows = 100_000

// fill puts rows into every table that grows. %[1]s makes numbers, %[2]s makes a key of a text.
var fill = []string{
	`INSERT INTO dcr_clients SELECT %[2]s, %[2]s, 1, %[2]s, %[3]s, %[2]s, %[2]s, %[2]s, %[3]s, %[3]s, %[2]s, %[2]s, i, i, CASE WHEN i %% 2 = 0 THEN i ELSE -9223372036854775807 END, i, i, i FROM %[1]s`,
	`INSERT INTO dcr_grants SELECT %[2]s, %[2]s, 0, 0, i, %[2]s, %[2]s, %[2]s, %[2]s FROM %[1]s`,
	`INSERT INTO dcr_tokens SELECT %[2]s, i %% 7, %[2]s, %[2]s, 0, 0, 0, 0, i, %[2]s, %[2]s, NULL, %[2]s FROM %[1]s`,
	`INSERT INTO dcr_revocations SELECT %[2]s, i, i %% 2 FROM %[1]s`,
	`INSERT INTO dcr_assertions SELECT %[2]s, i, %[2]s FROM %[1]s`,
	`INSERT INTO dcr_documents SELECT %[2]s, %[2]s, %[2]s, 0, i, i FROM %[1]s`,
	`INSERT INTO dcr_initial_access_tokens SELECT %[2]s, %[2]s, 0, 0, i FROM %[1]s`,
}

// scans finds a table that is read from end to end; SQLite says it of an index, too. The numbers of clients are few.
var scans = map[*Dialect]*regexp.Regexp{
	PostgreSQL: regexp.MustCompile(`Seq Scan on dcr_(clients|grants|tokens|revocations|assertions|documents|initial_access_tokens)\b`),
	SQLite:     regexp.MustCompile(`SCAN (dcr_(clients|grants|tokens|revocations|assertions|documents|initial_access_tokens)|[cgrt])\b`),
}

// TestPlans asks both databases how they go about each statement: none reads a whole table.
func TestPlans(t *testing.T) {
	t.Parallel()
	t.Run("SQL-08/sqlite", func(t *testing.T) {
		t.Parallel()
		s := opened(t, SQLite, filepath.Join(t.TempDir(), "plans.db"))
		filled(t, s, fmt.Sprintf(`(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i FROM n)`, rows/100),
			`CAST(printf('%%032d', i) AS BLOB)`, `CAST('one' AS BLOB)`)
		s.requirePlans(t, func(statement string, parameters int) string {
			return s.text(t, `EXPLAIN QUERY PLAN `+statement, make([]any, parameters)...)
		})
	})
	t.Run("SQL-08/postgresql", func(t *testing.T) {
		t.Parallel()
		s := opened(t, PostgreSQL, dcrtest.PostgreSQL(t)+"&plan_cache_mode=force_generic_plan&default_query_exec_mode=exec")
		s.db.SetMaxOpenConns(1) // what is prepared belongs to a connection
		filled(t, s, fmt.Sprintf(`generate_series(1, %d) AS i`, rows), `lpad(i::text, 32, '0')::bytea`, `'one'::bytea`)
		_, err := s.db.ExecContext(t.Context(), `ANALYZE`)
		require.NoError(t, err)
		number := 0
		s.requirePlans(t, func(statement string, parameters int) string {
			number++
			name := "plan" + strconv.Itoa(number)
			_, err := s.db.ExecContext(t.Context(), `PREPARE `+name+` AS `+statement)
			require.NoError(t, err, statement)
			arguments := strings.TrimSuffix(strings.Repeat("NULL, ", parameters), ", ")
			if arguments != "" {
				arguments = "(" + arguments + ")"
			}
			return s.text(t, `EXPLAIN EXECUTE `+name+arguments)
		})
	})
}

func opened(t *testing.T, d *Dialect, source string) *Store {
	t.Helper()
	s, err := Open(t.Context(), d, source, Options{SweepEvery: -1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func filled(t *testing.T, s *Store, numbers, key, same string) {
	t.Helper()
	for _, statement := range fill {
		_, err := s.db.ExecContext(t.Context(), strings.ReplaceAll(fmt.Sprintf(statement, numbers, key, same), "%%", "%"))
		require.NoError(t, err, statement)
	}
}

var placeholder = regexp.MustCompile(`[$?]([0-9]+)`)

// requirePlans asks for the plans of all statements.
func (s *Store) requirePlans(t *testing.T, plan func(statement string, parameters int) string) {
	t.Helper()
	check := func(name, statement string) {
		parameters := 0
		for _, match := range placeholder.FindAllStringSubmatch(statement, -1) {
			number, err := strconv.Atoi(match[1])
			require.NoError(t, err)
			parameters = max(parameters, number)
		}
		require.NotRegexp(t, scans[s.dialect], plan(statement, parameters), "%s: %s", name, statement)
	}
	require.Regexp(t, scans[s.dialect], plan(`SELECT count(*) FROM dcr_tokens WHERE request IS NULL`, 0), "the check can fail")
	list := reflect.ValueOf(s.sql)
	for i := range list.NumField() {
		name, text := list.Type().Field(i).Name, list.Field(i).String()
		if text == "" || name == "Tables" || name == "HasHost" || name == "HasNamePart" { // said when a store is opened, or no statement
			continue
		}
		check(name, text)
	}
	for name, filter := range map[string]dcr.ClientFilter{
		"all": {}, "subject": {Subject: "s"}, "initial": {InitialAccessToken: "i"}, "name": {NameKey: "n"}, "search": {Search: "s"},
		"host": {RedirectHost: "h"}, "times": {CreatedFrom: time.Now(), CreatedBefore: time.Now(), ExpiringBefore: time.Now()},
	} {
		filter.Issuer = "https://as.example"
		statement, _ := s.listQuery(filter, dcr.ClientCursor{ID: "x", CreatedAt: time.Now()}, 50)
		check("list/"+name, statement)
		if filter.Subject+filter.InitialAccessToken+filter.NameKey != "" { // quotas and consent; an operator's count is one
			statement, _ = s.countQuery(filter, 50)
			check("count/"+name, statement)
		}
	}
}

// text returns all that a query answers.
func (s *Store) text(t *testing.T, query string, args ...any) string {
	t.Helper()
	found, err := s.db.QueryContext(context.Background(), query, args...)
	require.NoError(t, err, query)
	defer func() { _ = found.Close() }()
	columns, err := found.Columns()
	require.NoError(t, err)
	var text strings.Builder
	for found.Next() {
		values, places := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			places[i] = &values[i]
		}
		require.NoError(t, found.Scan(places...))
		for _, value := range values {
			text.WriteString(value.String + " ")
		}
		text.WriteString("\n")
	}
	require.NoError(t, found.Err())
	return text.String()
}
