package sqlstore

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"database/sql/driver"

	"github.com/pressly/goose/v3"
)

// Dialect is the database that a store speaks to: SQLite or PostgreSQL.
type Dialect struct {
	name, driver, module string
	// source turns what Open is given into what the driver takes.
	source func(string) string
	list   statements
	// oneWriter: writers wait for each other, so that a transaction takes the lock at its beginning.
	oneWriter bool
	goose     goose.Dialect
	// transient reports whether an error is over when the transaction is repeated, down whether the database is away, or
	// can't write.
	transient, down func(error) bool
}

// String is the name of the database.
func (d *Dialect) String() string { return d.name }

// check refuses a dialect that is none.
func (d *Dialect) check() error {
	if d == nil || d.name == "" {
		return errors.New("sqlstore: the dialect is missing: it is sqlstore.SQLite or sqlstore.PostgreSQL")
	}
	return nil
}

// SQLite is version 3.37 or later. The file is brought into WAL mode. It must lie on a local disk: SQLite can't lock files
// on network file systems.
var SQLite = &Dialect{
	name: "SQLite", driver: "sqlite", module: "modernc.org/sqlite", source: sqliteSource,
	list: sqliteStatements, oneWriter: true, goose: goose.DialectSQLite3,
	transient: func(err error) bool { return slices.Contains([]int{5, 6}, sqliteCode(err)) }, // SQLITE_BUSY, SQLITE_LOCKED
	down: func(err error) bool { // SQLITE_READONLY, _IOERR, _FULL, _CANTOPEN, _PROTOCOL
		return slices.Contains([]int{8, 10, 13, 14, 15}, sqliteCode(err))
	},
}

// PostgreSQL is version 13 or later, or a database that speaks its protocol and SQL.
var PostgreSQL = &Dialect{
	name: "PostgreSQL", driver: "pgx", module: "github.com/jackc/pgx/v5/stdlib", source: func(s string) string { return s },
	list: postgresStatements, goose: goose.DialectPostgres,
	// serialization_failure, deadlock_detected
	transient: func(err error) bool { return slices.Contains([]string{"40001", "40P01"}, sqlState(err)) },
	down: func(err error) bool {
		// Connections that are cut or refused, resources, the operator's intervention, and a server that became read-only.
		state := sqlState(err)
		return state == "25006" || state == "25P03" || slices.ContainsFunc([]string{"08", "28", "3D", "53", "55", "57", "58"}, func(class string) bool {
			return strings.HasPrefix(state, class)
		})
	},
}

// checkFile refuses what SQLite would take for the name of a file. It may hold a password, so the error does not repeat it.
func checkFile(source string) error {
	lower := strings.ToLower(source)
	switch {
	case source == "" || strings.HasPrefix(source, ":memory:"):
		return errors.New("sqlstore: a database in memory would be another one for each connection: name a file")
	case strings.HasPrefix(lower, "file:"), strings.HasPrefix(lower, "sqlite:"), strings.Contains(source, "://"):
		return errors.New(`sqlstore: the source of SQLite is a path such as "auth.db", and no URL`)
	}
	return nil
}

// sqliteSource names a file for modernc.org/sqlite. A transaction takes the write lock at its beginning: SQLite may refuse
// it to one that has read before. Who waits for a lock waits a moment in the database, and then in the store.
func sqliteSource(file string) string {
	source := url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(file)}).EscapedPath(), RawQuery: url.Values{
		"_txlock": {"immediate"}, "_pragma": {"busy_timeout(1000)"},
	}.Encode()}
	return source.String()
}

// inFile adds the file to an error of SQLite, which names none; not what is rather the source of another database, with its
// password.
func inFile(file string, err error) error {
	if sqliteCode(err) == 0 || strings.Contains(strings.ToLower(file), "password") || strings.Contains(file, "@") {
		return err
	}
	if sqliteCode(err) == 14 { // SQLITE_CANTOPEN
		return fmt.Errorf("%w: %q has to be a file that can be written, in a folder that is there", err, file)
	}
	return fmt.Errorf("%w: in the file %q", err, file)
}

// opening explains an error of the first statements. pgx repeats a source that it can't parse, with the password where the
// source is unusual: this part is left out.
func (d *Dialect) opening(err error) error {
	if d.oneWriter && sqlState(err) != "" || !d.oneWriter && sqliteCode(err) != 0 {
		return fmt.Errorf("%w: is %s the dialect of the database?", err, d)
	}
	before, rest, found := strings.Cut(err.Error(), "cannot parse `")
	if end := strings.LastIndex(rest, "`: "); found && end >= 0 {
		return errors.New(before + "the source can't be parsed: " + rest[end+len("`: "):])
	}
	return err
}

// sqliteCode is the code of an error of SQLite without its details, and 0 for other errors.
func sqliteCode(err error) int {
	var e interface{ Code() int }
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// sqlState is the code of an error of PostgreSQL, and "" for other errors.
func sqlState(err error) string {
	var e interface{ SQLState() string }
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}

// isDown reports whether an error says that the database can't serve at present.
func (d *Dialect) isDown(err error) bool {
	var network net.Error
	var unsent interface{ SafeToRetry() bool } // of pgx: a connection that was cut
	return d.down(err) || errors.As(err, &network) || errors.As(err, &unsent) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// statements returns the statements for tables with a prefix.
func (d *Dialect) statements(prefix string) statements {
	return d.list.each(func(text string) string { return strings.ReplaceAll(text, "{prefix}", prefix) })
}
