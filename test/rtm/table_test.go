package rtm

// The states of a lock when ann calls an operation.
const (
	absent            = "that does not exist"
	free              = "that is free"
	heldByAnn         = "held by ann"
	heldByBob         = "held by bob"
	annWaits          = "held by bob with ann waiting"
	heldByAnnCidWaits = "held by ann with cid waiting"
	heldByBobCidWaits = "held by bob with cid waiting"
	cidAndAnnWait     = "held by bob with cid and then ann waiting"
)

// stillWaiting is the code of a call that has not ended.
const stillWaiting int32 = 1

// The codes of waiting calls.
const (
	continues int32 = stillWaiting
	granted   int32 = 0
	canceled  int32 = -14007
	removed   int32 = -14008
)

// row is an operation that ann calls, with its expected results.
type row struct {
	call  string
	retry bool   // of acquireLock
	owner string // of revokeLock

	code     int32  // of the call
	after    string // state of the lock after the call
	channel  string // events of the channel
	sessions string // events of the sessions of ann, bob and cid, in this order
	cid      int32  // code of cid's waiting call
	ann      int32  // code of ann's waiting call
	late     int32  // code of a later releaseLock of the first holder
}

// table has every call in every state.
var table = []struct {
	state string
	rows  []row
}{
	{absent, []row{
		{call: setLock, after: "free", channel: "SET"},
		{call: acquireLock, code: -14008, after: "absent"},
		{call: acquireLock, retry: true, code: -14008, after: "absent"},
		{call: releaseLock, code: -14008, after: "absent"},
		{call: revokeLock, code: -14008, after: "absent"},
		{call: revokeLock, owner: "ann", code: -14008, after: "absent"},
		{call: revokeLock, owner: "bob", code: -14008, after: "absent"},
		{call: getLock, after: "absent"},
		{call: removeLock, code: -14008, after: "absent"},
	}},
	{free, []row{
		{call: setLock, code: -14004, after: "free"},
		{call: acquireLock, after: "ann", channel: "ACQUIRED ann", sessions: "ACQUIRED ann"},
		{call: acquireLock, retry: true, after: "ann", channel: "ACQUIRED ann", sessions: "ACQUIRED ann"},
		{call: releaseLock, code: -14006, after: "free"},
		{call: revokeLock, code: -14006, after: "free"},
		{call: revokeLock, owner: "ann", code: -14006, after: "free"},
		{call: revokeLock, owner: "bob", code: -14006, after: "free"},
		{call: getLock, after: "free"},
		{call: removeLock, after: "absent", channel: "REMOVED"},
	}},
	{heldByAnn, []row{
		{call: setLock, code: -14004, after: "ann"},
		{call: acquireLock, code: -14003, after: "ann"},
		{call: acquireLock, retry: true, code: -14003, after: "ann"},
		{call: releaseLock, after: "free", channel: "RELEASED ann", sessions: "RELEASED ann", late: -14006},
		{call: revokeLock, after: "free", channel: "RELEASED ann", sessions: "RELEASED ann", late: -14006},
		{call: revokeLock, owner: "ann", after: "free", channel: "RELEASED ann", sessions: "RELEASED ann", late: -14006},
		{call: revokeLock, owner: "bob", code: -14006, after: "ann"},
		{call: getLock, after: "ann"},
		{call: removeLock, after: "absent", channel: "REMOVED ann", sessions: "REMOVED ann", late: -14008},
	}},
	{heldByBob, []row{
		{call: setLock, code: -14004, after: "bob"},
		{call: acquireLock, code: -14007, after: "bob"},
		{call: acquireLock, retry: true, code: stillWaiting, after: "bob", ann: continues},
		{call: releaseLock, code: -14006, after: "bob"},
		{call: revokeLock, after: "free", channel: "RELEASED bob", sessions: "RELEASED bob", late: -14006},
		{call: revokeLock, owner: "bob", after: "free", channel: "RELEASED bob", sessions: "RELEASED bob", late: -14006},
		{call: revokeLock, owner: "ann", code: -14006, after: "bob"},
		{call: getLock, after: "bob"},
		{call: removeLock, after: "absent", channel: "REMOVED bob", sessions: "REMOVED bob", late: -14008},
	}},
	{annWaits, []row{
		{call: setLock, code: -14004, after: "bob", ann: continues},
		{call: acquireLock, code: -14003, after: "bob", ann: continues},
		{call: acquireLock, retry: true, code: -14003, after: "bob", ann: continues},
		{call: releaseLock, after: "bob", ann: canceled},
		{call: revokeLock, after: "ann", ann: granted,
			channel: "RELEASED bob, ACQUIRED ann", sessions: "ACQUIRED ann, RELEASED bob", late: -14006},
		{call: revokeLock, owner: "bob", after: "ann", ann: granted,
			channel: "RELEASED bob, ACQUIRED ann", sessions: "ACQUIRED ann, RELEASED bob", late: -14006},
		{call: revokeLock, owner: "ann", code: -14006, after: "bob", ann: continues},
		{call: getLock, after: "bob", ann: continues},
		{call: removeLock, after: "absent", ann: removed, channel: "REMOVED bob", sessions: "REMOVED bob", late: -14008},
	}},
	{heldByAnnCidWaits, []row{
		{call: setLock, code: -14004, after: "ann", cid: continues},
		{call: acquireLock, code: -14003, after: "ann", cid: continues},
		{call: acquireLock, retry: true, code: -14003, after: "ann", cid: continues},
		{call: releaseLock, after: "cid", cid: granted,
			channel: "RELEASED ann, ACQUIRED cid", sessions: "RELEASED ann, ACQUIRED cid", late: -14006},
		{call: revokeLock, after: "cid", cid: granted,
			channel: "RELEASED ann, ACQUIRED cid", sessions: "RELEASED ann, ACQUIRED cid", late: -14006},
		{call: revokeLock, owner: "ann", after: "cid", cid: granted,
			channel: "RELEASED ann, ACQUIRED cid", sessions: "RELEASED ann, ACQUIRED cid", late: -14006},
		{call: revokeLock, owner: "cid", code: -14006, after: "ann", cid: continues},
		{call: getLock, after: "ann", cid: continues},
		{call: removeLock, after: "absent", cid: removed, channel: "REMOVED ann", sessions: "REMOVED ann", late: -14008},
	}},
	{heldByBobCidWaits, []row{
		{call: setLock, code: -14004, after: "bob", cid: continues},
		{call: acquireLock, code: -14007, after: "bob", cid: continues},
		{call: acquireLock, retry: true, code: stillWaiting, after: "bob", cid: continues, ann: continues},
		{call: releaseLock, code: -14006, after: "bob", cid: continues},
		{call: revokeLock, after: "cid", cid: granted,
			channel: "RELEASED bob, ACQUIRED cid", sessions: "RELEASED bob, ACQUIRED cid", late: -14006},
		{call: revokeLock, owner: "bob", after: "cid", cid: granted,
			channel: "RELEASED bob, ACQUIRED cid", sessions: "RELEASED bob, ACQUIRED cid", late: -14006},
		{call: revokeLock, owner: "cid", code: -14006, after: "bob", cid: continues},
		{call: getLock, after: "bob", cid: continues},
		{call: removeLock, after: "absent", cid: removed, channel: "REMOVED bob", sessions: "REMOVED bob", late: -14008},
	}},
	{cidAndAnnWait, []row{
		{call: setLock, code: -14004, after: "bob", cid: continues, ann: continues},
		{call: acquireLock, code: -14003, after: "bob", cid: continues, ann: continues},
		{call: acquireLock, retry: true, code: -14003, after: "bob", cid: continues, ann: continues},
		{call: releaseLock, after: "bob", cid: continues, ann: canceled},
		{call: revokeLock, after: "cid", cid: granted, ann: continues,
			channel: "RELEASED bob, ACQUIRED cid", sessions: "RELEASED bob, ACQUIRED cid", late: -14006},
		{call: revokeLock, owner: "bob", after: "cid", cid: granted, ann: continues,
			channel: "RELEASED bob, ACQUIRED cid", sessions: "RELEASED bob, ACQUIRED cid", late: -14006},
		{call: revokeLock, owner: "cid", code: -14006, after: "bob", cid: continues, ann: continues},
		{call: getLock, after: "bob", cid: continues, ann: continues},
		{call: removeLock, after: "absent", cid: removed, ann: removed, channel: "REMOVED bob", sessions: "REMOVED bob", late: -14008},
	}},
}

// name returns the name of the row's sub-test.
func (r row) name(state string) string {
	name := "ann calls " + r.call
	if r.retry {
		name += " with retry"
	}
	if r.owner != "" {
		name += " from " + r.owner
	}
	return name + " of a lock " + state
}
