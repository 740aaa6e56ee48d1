package main

// A counter of the holders of a lock, which detects more than one.

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// holderCounter counts holders in all processes that have opened its file.
type holderCounter struct {
	memory   []byte
	holders  *atomic.Int64
	overlaps atomic.Int64 // how often this process found another holder
}

// openHolderCounter maps an existing file of at least 8 bytes.
func openHolderCounter(file string) (*holderCounter, error) {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const size = int(unsafe.Sizeof(atomic.Int64{}))
	memory, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	return &holderCounter{memory: memory, holders: (*atomic.Int64)(unsafe.Pointer(&memory[0]))}, nil
}

func (r *holderCounter) enter() {
	if r.holders.Add(1) != 1 {
		r.overlaps.Add(1)
	}
}

func (r *holderCounter) leave() { r.holders.Add(-1) }

func (r *holderCounter) close() { _ = syscall.Munmap(r.memory) }
