package dcr

import "github.com/go-jose/go-jose/v3"

// MetadataMember is a row of the table of members, as the test of its documentation
// sees it.
type MetadataMember struct {
	Name, Kind, Spec, Support string
	Tagged                    bool
	// Values are honoured by every provider.
	Values []string
}

// MetadataMembers returns the table of members.
func MetadataMembers() []MetadataMember {
	rows := make([]MetadataMember, len(members))
	for i := range members {
		row := &members[i]
		rows[i] = MetadataMember{
			Name: row.name, Kind: row.kindName(), Spec: row.spec, Support: row.support.name(),
			Tagged: row.tagged, Values: row.values,
		}
	}
	return rows
}

// ServerMember reports whether only the server may set a member.
func ServerMember(name string) bool { return isServerMember(name) }

func (row *member) kindName() string {
	switch row.settle(new(ClientMetadata)).(type) {
	case *string:
		return "string"
	case *[]string:
		return "array of strings"
	case **bool:
		return "boolean"
	case **int64:
		return "integer"
	case **jose.JSONWebKeySet:
		return "JWK Set"
	}
	return ""
}

func (s support) name() string {
	switch s {
	case registered:
		return "registered"
	case leftOut:
		return "left out"
	case refused:
		return "refused"
	}
	return ""
}
