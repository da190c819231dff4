package cimd

import (
	"context"
	"time"
)

// Storage keeps known documents beyond the process, and shares them among processes. sqlstore and dcr.MemoryStore
// implement it. Identifiers are compared byte for byte. All methods may be called at once.
type Storage interface {
	// FindDocument returns the record kept under a client identifier (nil: none) and whether an operator blocked the
	// identifier.
	FindDocument(ctx context.Context, id string) (record []byte, blocked bool, err error)
	// SaveDocument keeps a record in place of an earlier one, and the time of its last use. Blocking stays as it is. Where
	// more than most records are kept then, those go that were not used for the longest, but none whose client holds a live
	// code, access token or refresh token. Where none can go, the new one is not kept (kept is false); an earlier one is
	// replaced in any case.
	SaveDocument(ctx context.Context, id string, record []byte, used time.Time, most int) (kept bool, err error)
	// TouchDocument notes a use, only ever forward. It does nothing where no record is kept.
	TouchDocument(ctx context.Context, id string, used time.Time) error
	// DeleteDocument removes a record. Blocking stays as it is. Removing nothing is no error.
	DeleteDocument(ctx context.Context, id string) error
	// BlockDocument blocks an identifier, whether a record is kept or not, or ends that.
	BlockDocument(ctx context.Context, id string, blocked bool) error
	// ListDocuments calls each with up to limit identifiers, in their order, that follow after ("" is the start). The
	// record is nil where an identifier is blocked and no record is kept.
	ListDocuments(ctx context.Context, after string, limit int, each func(id string, record []byte, used time.Time, blocked bool)) error
}
