def test_reply(lap):
    session = lap.session(lap.agent("scripted/echo"))

    assert lap.say(session, "hello") == "hello"

    [request] = lap.requests()
    assert request["session_id"] == session["id"]
    assert request["model"] == "scripted/echo"
    assert request["body"]["messages"][-1]["content"][-1]["text"] == "hello"


def test_script(lap):
    session = lap.session(lap.agent("scripted/triage"))

    assert lap.say(session, "Triage the issue.") == "priority: high"
    assert len(lap.requests()) == 2  # the command in the sandbox, then the decision


def test_idle_session_ends(lap):
    session = lap.session(lap.agent("scripted/echo"))

    lap.advance("25h")  # a session may be idle for 24 hours

    assert lap.wait_until(session, "dead")["failure_reason"] == "idle timeout"


def test_starts_clean(lap):
    assert lap.requests() == []
    assert lap.call("GET", "/api/v1/managed_agents/agents")["total"] == 0
