package policy_test

// members is short for the metadata in a row.
type members = map[string]any
