package dcr

import (
	"net/http"

	"github.com/rs/cors"
)

// openTo lets pages of the configured origins call a handler from a browser. Credentials,
// such as cookies, are never allowed along (T23).
func (r *registry) openTo(methods []string, handler http.Handler) http.Handler {
	if len(r.cfg.AllowedOrigins) == 0 {
		return handler
	}
	return cors.New(cors.Options{
		AllowedOrigins: r.cfg.AllowedOrigins,
		AllowedMethods: methods,
		AllowedHeaders: []string{"*"},
		ExposedHeaders: []string{"WWW-Authenticate", "Retry-After"},
		MaxAge:         600,
	}).Handler(handler)
}
