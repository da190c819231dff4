// Command databasestorage shows a fosite storage in a database that has registration: package
// store, which is there to be copied. A client is one row, whose record is one JSON column.
//
// The program opens a file, or creates it, registers a client, shows its row, and sweeps:
//
//	go run ./examples/databasestorage [file]
package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"time"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/examples/databasestorage/store"
)

func main() {
	if err := open(os.Args[1:], os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// open runs the program on the named file, or on a temporary one that is removed.
func open(args []string, out io.Writer) error {
	if len(args) > 0 {
		return run(context.Background(), args[0], out)
	}
	folder, err := os.MkdirTemp("", "databasestorage")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	return run(context.Background(), filepath.Join(folder, "clients.db"), out)
}

// run starts two servers on one file, as behind a load balancer, and prints what happens.
func run(ctx context.Context, file string, out io.Writer) error {
	ahead := time.Duration(0) // of the real time, so that the sweep needs no waiting
	now := func() time.Time { return time.Now().Add(ahead) }
	first, err := newServer(ctx, file, now)
	if err != nil {
		return err
	}
	defer func() { _ = first.store.Close() }()
	second, err := newServer(ctx, file, now)
	if err != nil {
		return err
	}
	defer func() { _ = second.store.Close() }()

	client := first.register("Invoices")
	unused := first.register("Never seen again")
	fmt.Fprintln(out, "A client is registered at the first server. Its row:")
	if err := showRow(ctx, out, file, client.ID); err != nil {
		return err
	}
	for what, secret := range map[string]string{"client secret": client.Secret, "registration access token": client.Token} {
		found, err := contains(file, secret)
		if err != nil {
			return err
		}
		if found {
			return fmt.Errorf("the %s is in the database", what)
		}
	}
	fmt.Fprintln(out, "Neither its secret nor its registration access token is anywhere in the file.")

	fmt.Fprintln(out, "\nIt reads its registration at the second server:", second.read(client))
	fmt.Fprintln(out, "It gets a token there:", second.token(client))
	if err := showUse(ctx, out, first, client.ID); err != nil {
		return err
	}

	ahead = 2 * time.Hour
	removed, err := second.provider.Sweep(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nTwo hours later a sweep removes %d client that was never used.\n", removed)
	fmt.Fprintln(out, "The one that was used reads its registration:", first.read(client))
	fmt.Fprintln(out, "The other one:", first.read(unused))
	return first.store.DeleteExpiredSessions(ctx)
}

// showRow prints a row of the table.
func showRow(ctx context.Context, out io.Writer, file, id string) error {
	db, err := sql.Open("sqlite", store.Source(file, time.Second))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(ctx, `SELECT * FROM clients WHERE id = $1`, id)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	values, places := make([]any, len(names)), make([]any, len(names))
	for i := range values {
		places[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(places...); err != nil {
			return err
		}
		for i, name := range names {
			fmt.Fprintf(out, "  %-21s %s\n", name, shown(name, values[i]))
		}
	}
	return rows.Err()
}

// shown returns the value of a column as text, and a record in lines.
func shown(column string, value any) string {
	switch value := value.(type) {
	case nil:
		return "NULL"
	case string:
		var lines bytes.Buffer
		if column == "record" && json.Indent(&lines, []byte(value), "    ", "  ") == nil {
			return lines.String()
		}
		return "'" + value + "'"
	}
	return fmt.Sprint(value)
}

// contains reports whether a text is anywhere in the database: in the file or in its log.
func contains(file, text string) (bool, error) {
	for _, name := range []string{file, file + "-wal"} {
		content, err := os.ReadFile(name)
		if err != nil && !os.IsNotExist(err) {
			return false, err
		}
		if bytes.Contains(content, []byte(text)) {
			return true, nil
		}
	}
	return false, nil
}

// showUse prints how the first server sees that the client was used at the second.
func showUse(ctx context.Context, out io.Writer, s *server, id string) error {
	used, err := s.provider.CountClients(ctx, dcr.ClientFilter{Search: id}, 1)
	if err != nil {
		return err
	}
	unused, err := s.provider.CountClients(ctx, dcr.ClientFilter{Search: id, NeverUsed: true}, 1)
	if err != nil {
		return err
	}
	client, err := s.provider.FindClient(ctx, id)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "The first server sees it: %d client, %d of them never used, still version %d.\n", used, unused, client.Version)
	return nil
}

// status returns the status of an answer with its name.
func status(code int) string { return fmt.Sprint(code, " ", http.StatusText(code)) }
