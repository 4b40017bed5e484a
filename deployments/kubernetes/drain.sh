#!/bin/sh
# Before this pod ends: Ray places nothing more here, Serve starts what ran here elsewhere, running turns go on there.
# Returns when no model is left on this pod, or after so many seconds (120).
seconds=${1:-120}
ray drain-node --reason DRAIN_NODE_REASON_PREEMPTION --reason-message 'the pod ends' \
    --deadline-remaining-seconds "$seconds" || exit 0 # without Ray there is nothing to drain
end=$(($(date +%s) + seconds))
while pgrep -f '^ray::HostedModel' >/dev/null && [ "$(date +%s)" -lt "$end" ]; do
    sleep 1
done
