package keyset

import (
	"math/big"
	"slices"
)

// edwardsPoint reports whether x encodes a point of Ed25519 that can serve as a key (RFC 8032, section
// 5.1.3): its coordinate is reduced and belongs to a point, and that point is none of the eight of small
// order, under which signatures of nobody verify. The standard library says neither without a signature.
func edwardsPoint(x []byte) bool {
	encoded := slices.Clone(x)
	slices.Reverse(encoded)
	encoded[0] &= 0x7f // the sign of the other coordinate
	y := new(big.Int).SetBytes(encoded)
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	if y.Cmp(p) >= 0 {
		return false
	}
	one := big.NewInt(1)
	mul := func(a, b *big.Int) *big.Int { a = new(big.Int).Mul(a, b); return a.Mod(a, p) }

	// d = -121665/121666
	d := mul(big.NewInt(-121665), new(big.Int).ModInverse(big.NewInt(121666), p))
	y2 := mul(y, y)
	dy2 := mul(d, y2)

	// Order 1, 2 and 4: y is 1, -1 or 0. Order 8: the double has y = 0, hence d*y^4 + 2*y^2 - 1 = 0.
	eighth := mul(new(big.Int).Sub(new(big.Int).Add(mul(dy2, y2), new(big.Int).Lsh(y2, 1)), one), one)
	if y.Sign() == 0 || y2.Cmp(one) == 0 || eighth.Sign() == 0 {
		return false
	}
	// x^2 = (y^2 - 1) / (d*y^2 + 1) must have a root; the divisor is never 0, as -1/d has none.
	square := mul(new(big.Int).Sub(y2, one), new(big.Int).Add(dy2, one))
	return big.Jacobi(square, p) == 1
}
