package dcrtest

import (
	"errors"
	"fmt"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// ErrBroken is the error of a storage, with what no client may read.
var ErrBroken = errors.New("the disk is on fire at 10.0.0.7")

// ErrDatabase is the error of a database, with what no client may read.
var ErrDatabase = errors.New("pq: relation clients at 10.0.0.7 does not exist")

// ErrOnFire is the error of a storage, with no address in it.
var ErrOnFire = errors.New("the disk is on fire")

// ErrFailingOver is the error of a storage that will be back soon.
var ErrFailingOver = fmt.Errorf("failing over: %w", dcr.ErrUnavailable)
