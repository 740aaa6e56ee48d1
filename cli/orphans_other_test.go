//go:build !linux

package cli

func becomeSubreaper() { panic("subreapers exist only on Linux") }
