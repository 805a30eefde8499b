//! Owns what `--help` says of the journal's verbs.

pub(in crate::cli) const JOURNAL: &str = "\
Show how copies of writes stand in the running router, and decide about those that were parked: copies that the other side \
refuses, that it failed on too often, or whose outcome nobody knows. A parked copy holds up no other. Each decision is an \
entry of the history.

Examples:
  banyan journal status                          lag, parked and gaps of each destination
  banyan journal list                            what is parked, in groups of the same error
  banyan journal show COPY                       one copy with its headers and body
  banyan journal replay GROUP --reason 'fixed'   send a whole group once more, with the same keys
  banyan journal drop COPY --reason 'test data'  give one up
  banyan journal drop --destination orders --reason 'it is gone'
                                                 give up what waits for an upstream that the files no longer name
  banyan journal gaps                            writes that were served and not copied
  banyan journal resume orders --reason 'new token'

COPY and GROUP are names that `banyan journal list` prints. Each verb has more under --help.

Exit code 0: done. 1: refused. 2: wrong usage. 3: no router answers, or it does not let you in.";

pub(super) const STATUS: &str = "\
Show for each destination how many copies are pending, how long the oldest has been waiting, their bytes, how many copies are parked, \
how many writes were served and not copied, and are not mended (gaps), and whether it takes copies: `well`, or what is in the way:
  paused      it answers 401 or 403: mend its credentials, then `banyan journal resume`
  open        it is down or overloaded: nothing is sent but one attempt at a time; copies go on by themselves
  half-open   such an attempt is under way

Examples:
  banyan journal status
  banyan journal status --json | jq '.destinations[] | {name, pending, parked, gaps, oldest_ms}'

Exit code 0: shown, whatever it says. 1: refused: the router copies no writes. 2: wrong usage. 3: no router answers, or it does \
not let you in.";

pub(super) const LIST: &str = "\
List what is parked: first the groups (copies of one route that failed in the same way), the largest first, with their names; then \
copies with theirs, what they wanted, why they were parked and what the other side said.

Examples:
  banyan journal list
  banyan journal list --group 8f3a52c01b77d94e   the copies of one group
  banyan journal list --all --json | jq -r '.parked[].target'

Exit code 0: shown, also where nothing is parked. 1: refused. 2: wrong usage. 3: no router answers, or it does not let you in.";

pub(super) const SHOW: &str = "\
Show one parked copy as a whole: what it is about, how often it was tried, what the other side said, and the request with its headers \
and body. Credentials are not shown.

Examples:
  banyan journal show 01890a5d3c7e4f21a0b4c6d8e2f41357
  banyan journal show 01890a5d3c7e4f21a0b4c6d8e2f41357 --json | jq -r '.copies[0].body' > body.json

Exit code 0: shown. 1: refused: no such copy is parked. 2: wrong usage. 3: no router answers, or it does not let you in.";

pub(super) const REPLAY: &str = "\
Send a parked copy, or all of a group, once more, through its lane and under the same idempotency key: what has arrived meanwhile is \
not done twice by a destination that knows keys. It is sent as it was written then: where the entity has changed since, `banyan \
reconcile` is what you want. Where a newer copy about the same has arrived or may be on its way, or the entity has changed sides, \
nothing is sent without --yes; what was written there otherwise than by a copy, nobody has noted. At most 10,000 copies of a group go at once; give the order again for the rest.

Examples:
  banyan journal replay 8f3a52c01b77d94e --reason 'the schema knows the field now'
  banyan journal replay 01890a5d3c7e4f21a0b4c6d8e2f41357 --body fixed.json --reason 'wrong currency'

Exit code 0: on their way; `banyan journal status` shows when they are there. 1: refused: nothing of that name is parked, or what it \
is to become cannot be. 2: wrong usage. 3: no router answers, or it does not let you in.";

pub(super) const DROP: &str = "\
Give a parked copy up, or all of a group. The write stays on the side that served it and is missing on the other one, unless \
something else brought it there. It cannot be taken back; the history has who, when and why.

With --destination: give up all copies that wait for an upstream, which would hold the journal for ever where the files no longer name \
it; where they do, only with --yes. How many wait is said first. Each leaves a gap. A router that dies meanwhile has the rest \
still waiting: give the order again.

Examples:
  banyan journal drop 01890a5d3c7e4f21a0b4c6d8e2f41357 --reason 'test data'
  banyan journal drop 8f3a52c01b77d94e --reason 'reconciled'
  banyan journal drop --destination orders --reason 'it was switched off'

Exit code 0: dropped. 1: refused: nothing of that name is parked or copied to, or the files name the upstream. 2: wrong usage. 3: no router answers, or it does not let you in.";

pub(super) const GAPS: &str = "\
List writes that were served and not copied, the newest first, with the time in UTC and why: too large, or the journal was full or \
failing, or a person gave them up. `banyan reconcile ROUTE --from UPSTREAM --journal` mends them; those that are mended leave the list, \
and the oldest when there are more than 10,000.

Examples:
  banyan journal gaps
  banyan journal gaps --all --json | jq -r '.gaps[].target' | sort -u

Exit code 0: shown, also where there are none. 1: refused. 2: wrong usage. 3: no router answers, or it does not let you in.";

pub(super) const RESUME: &str = "\
Try a destination at once that is paused, because it answered 401 or 403, or that failed, instead of after its wait of at most 30 s. \
What waits for it follows as soon as it takes copies again; nothing is lost by waiting, and nothing by resuming too early.

Examples:
  banyan journal resume orders --reason 'the new token is in place'

Exit code 0: it is tried. 1: refused: nothing is copied to it. 2: wrong usage. 3: no router answers, or it does not let you in.";
