package main

import "slices"

const demoUser = "demo"

// users stands for your own user database, and your own way of signing in. This one
// has one user. Its password belongs to the keys and is printed when the server starts. It has 130 random
// bits, so it needs no slow hash and no bound on attempts. Passwords that people choose need both.
type users struct{ password string }

// authenticate reports whether the password is right.
func (u *users) authenticate(name, password string) bool {
	right := sameSecret(password, u.password)
	return name == demoUser && right
}

func (u *users) exists(name string) bool { return name == demoUser }

// claims returns what the scopes let a client know about a user (OpenID Connect Core
// 1.0, section 5.4).
func (u *users) claims(name string, scopes []string) map[string]any {
	claims := map[string]any{"sub": name}
	if slices.Contains(scopes, "profile") {
		claims["name"], claims["preferred_username"] = "Demo User", name
	}
	if slices.Contains(scopes, "email") {
		claims["email"], claims["email_verified"] = name+"@example.com", false
	}
	return claims
}
