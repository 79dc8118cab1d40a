package com.example;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

@ExtendWith(LapExtension.class)
class AgentTest {

    @Test
    void replies(Lap lap) throws Exception {
        String session = lap.session(lap.agent("scripted/echo"));

        assertEquals("hello", lap.say(session, "hello"));

        assertEquals(1, lap.requests().size());
        JsonObject request = lap.requests().get(0).getAsJsonObject();
        assertEquals(session, request.get("session_id").getAsString());
        assertEquals("scripted/echo", request.get("model").getAsString());
        assertEquals("hello", last(last(request.getAsJsonObject("body"), "messages"), "content").get("text").getAsString());
    }

    @Test
    void runsACommandInTheSandbox(Lap lap) throws Exception {
        String session = lap.session(lap.agent("scripted/echo"));

        assertEquals("$ expr 6 \\* 7\n42", lap.say(session, "RUN: expr 6 \\* 7"));
    }

    @Test
    void endsAnIdleSession(Lap lap) throws Exception {
        String session = lap.session(lap.agent("scripted/echo"));

        lap.advance("25h"); // a session may be idle for 24 hours

        assertEquals("idle timeout", lap.waitUntil(session, "dead").get("failure_reason").getAsString());
    }

    @Test
    void startsClean(Lap lap) {
        assertTrue(lap.requests().isEmpty());
        assertEquals(0, lap.get(Lap.AGENTS).get("total").getAsInt());
    }

    private static JsonObject last(JsonObject object, String name) {
        JsonArray all = object.getAsJsonArray(name);
        return all.get(all.size() - 1).getAsJsonObject();
    }
}
