package lifecycle_test

// list is short for what rows hold most.
type list = []string

// members is short for the metadata in a row.
type members = map[string]any
