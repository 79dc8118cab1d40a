#!/usr/bin/env bash
# A test of an agent with bash, curl and jq.
set -euo pipefail

tmp=$(mktemp -d)
mkfifo "$tmp/in" "$tmp/out"
"${LAP_BINARY:-lap}" serve --ephemeral --fixture <"$tmp/in" >"$tmp/out" &
exec 3>"$tmp/in" 4<"$tmp/out" # the server lives as long as 3 is open
trap 'exec 3>&-; wait; rm -rf "$tmp"' EXIT
read -r ready <&4 || { echo "lap did not start; it says why above" >&2; exit 1; }
url=$(jq -r .url <<<"$ready") key=$(jq -r .key <<<"$ready")

# call METHOD PATH [BODY] sends a request and prints the answer.
call() {
  curl -sS --fail-with-body --max-time 60 -X "$1" "$url/api/v1$2" ${3:+-d "$3"} \
    -H "Authorization: Bearer $key" -H 'Content-Type: application/json'
}

# wait_until SESSION STATUS prints the session when it has the status.
wait_until() {
  local session status
  for _ in $(seq 600); do
    session=$(call GET "/managed_agents/sessions/$1")
    status=$(jq -r .status <<<"$session")
    case $status in
      "$2") echo "$session" && return ;;
      failed | dead) break ;;
    esac
    sleep 0.1
  done
  echo "the session is $status, not $2: $session" >&2
  return 1
}

# expect WANT GOT
expect() {
  [ "$1" = "$2" ] || { printf 'want %s\ngot  %s\n' "$1" "$2" >&2; exit 1; }
}

agent=$(call POST /managed_agents/agents '{"model": "scripted/echo", "harness_id": "lap"}' | jq -r .id)
session=$(call POST "/managed_agents/agents/$agent/session" '{}' | jq -r .id)
wait_until "$session" ready >/dev/null

reply=$(call POST "/managed_agents/sessions/$session/message" '{"text": "hello"}')
expect hello "$(jq -r '.parts[] | select(.type == "text").text' <<<"$reply")"

requests=$(call GET /fixture/requests)
expect "scripted/echo hello" "$(jq -r '.data[] | "\(.model) \(.body.messages[-1].content[-1].text)"' <<<"$requests")"

call POST /fixture/clock '{"advance": "25h"}' >/dev/null # a session may be idle for 24 hours
expect "idle timeout" "$(wait_until "$session" dead | jq -r .failure_reason)"

call POST /fixture/reset '{}' >/dev/null
expect 0 "$(call GET /managed_agents/agents | jq .total)"
expect 0 "$(call GET /fixture/requests | jq '.data | length')"
echo ok
