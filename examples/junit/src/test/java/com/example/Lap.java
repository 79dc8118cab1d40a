package com.example;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import org.junit.jupiter.api.extension.ExtensionContext.Store.CloseableResource;

/** A running lap server, and what tests ask of it. */
public class Lap implements CloseableResource {
    public static final String AGENTS = "/api/v1/managed_agents/agents";
    public static final String SESSIONS = "/api/v1/managed_agents/sessions";

    private final HttpClient client = HttpClient.newHttpClient();
    private final Process server;
    private final String url;
    private final String key;

    private Lap(Process server, JsonObject ready) {
        this.server = server;
        this.url = ready.get("url").getAsString();
        this.key = ready.get("key").getAsString();
    }

    /** Starts a server. It lives as long as its standard input is open, and this JVM holds that. */
    public static Lap start() {
        String binary = System.getenv().getOrDefault("LAP_BINARY", "lap");
        try {
            Process server = new ProcessBuilder(binary, "serve", "--ephemeral", "--fixture")
                    .redirectError(ProcessBuilder.Redirect.INHERIT)
                    .start();
            String line = new BufferedReader(
                    new InputStreamReader(server.getInputStream(), StandardCharsets.UTF_8)).readLine();
            if (line == null) {
                throw new IllegalStateException("lap did not start; it says why above");
            }
            return new Lap(server, JsonParser.parseString(line).getAsJsonObject());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public void close() throws Exception {
        server.getOutputStream().close();
        server.waitFor();
    }

    /** Sends a request and returns what its JSON answer says. A status of 400 or more throws. */
    public JsonObject call(String method, String path, Map<String, String> body) {
        JsonObject json = new JsonObject();
        body.forEach(json::addProperty);
        HttpRequest request = HttpRequest.newBuilder(URI.create(url + path))
                .header("Authorization", "Bearer " + key)
                .header("Content-Type", "application/json")
                .timeout(Duration.ofMinutes(1))
                .method(method, method.equals("GET") ? BodyPublishers.noBody() : BodyPublishers.ofString(json.toString()))
                .build();
        try {
            HttpResponse<String> response = client.send(request, BodyHandlers.ofString());
            if (response.statusCode() >= 400) {
                throw new IllegalStateException(method + " " + path + ": " + response.statusCode() + " " + response.body());
            }
            return response.body().isEmpty() ? new JsonObject() : JsonParser.parseString(response.body()).getAsJsonObject();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    public JsonObject get(String path) {
        return call("GET", path, Map.of());
    }

    /** Creates an agent and returns its id. */
    public String agent(String model) {
        return call("POST", AGENTS, Map.of("model", model, "harness_id", "lap")).get("id").getAsString();
    }

    /** Opens a session, waits until it takes messages, and returns its id. */
    public String session(String agent) throws InterruptedException {
        String session = call("POST", AGENTS + "/" + agent + "/session", Map.of()).get("id").getAsString();
        waitUntil(session, "ready");
        return session;
    }

    public JsonObject waitUntil(String session, String status) throws InterruptedException {
        for (int i = 0; i < 1200; i++) {
            JsonObject now = get(SESSIONS + "/" + session);
            String is = now.get("status").getAsString();
            if (is.equals(status)) {
                return now;
            }
            if (is.equals("failed") || is.equals("dead")) {
                throw new IllegalStateException("the session is " + is + ": " + now.get("failure_reason"));
            }
            Thread.sleep(50);
        }
        throw new IllegalStateException("the session is not " + status + " after a minute");
    }

    /** Sends a message and returns the text of the reply. */
    public String say(String session, String text) {
        StringBuilder reply = new StringBuilder();
        for (JsonElement part : call("POST", SESSIONS + "/" + session + "/message", Map.of("text", text)).getAsJsonArray("parts")) {
            if (part.getAsJsonObject().get("type").getAsString().equals("text")) {
                reply.append(part.getAsJsonObject().get("text").getAsString());
            }
        }
        return reply.toString();
    }

    /** The calls that the model got, oldest first. */
    public JsonArray requests() {
        return get("/api/v1/fixture/requests").getAsJsonArray("data");
    }

    /** Moves the clock of the server, as by "90m" or "25h". */
    public void advance(String duration) {
        call("POST", "/api/v1/fixture/clock", Map.of("advance", duration));
    }

    public void reset() {
        call("POST", "/api/v1/fixture/reset", Map.of());
    }
}
