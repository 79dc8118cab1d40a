// A lap server for the tests: one for each worker of vitest.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout } from 'node:timers/promises'
import { test as base } from 'vitest'

const agents = '/api/v1/managed_agents/agents'
const sessions = '/api/v1/managed_agents/sessions'

/** What the tests ask of a running server. */
export class Lap {
  constructor(readonly url: string, readonly key: string) {}

  /** Sends a request and returns what its JSON answer says. A status of 400 or more throws. */
  async call(method: string, path: string, body?: unknown): Promise<any> {
    const response = await fetch(this.url + path, {
      method,
      headers: { Authorization: `Bearer ${this.key}`, 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return text === '' ? undefined : JSON.parse(text)
  }

  agent(model: string) {
    return this.call('POST', agents, { model, harness_id: 'lap' })
  }

  /** Opens a session and waits until it takes messages. */
  async session(agent: { id: string }) {
    return this.waitUntil(await this.call('POST', `${agents}/${agent.id}/session`, {}), 'ready')
  }

  async waitUntil(session: { id: string }, status: string): Promise<any> {
    for (const end = Date.now() + 60_000; Date.now() < end; await setTimeout(50)) {
      const now = await this.call('GET', `${sessions}/${session.id}`)
      if (now.status === status) return now
      if (now.status === 'failed' || now.status === 'dead') throw new Error(`the session is ${now.status}: ${now.failure_reason}`)
    }
    throw new Error(`the session is not ${status} after a minute`)
  }

  /** Sends a message and returns the text of the reply. */
  async say(session: { id: string }, text: string): Promise<string> {
    const reply = await this.call('POST', `${sessions}/${session.id}/message`, { text })
    return reply.parts.map((part: any) => (part.type === 'text' ? part.text : '')).join('')
  }

  /** The calls that the model got, oldest first. */
  async requests(): Promise<any[]> {
    return (await this.call('GET', '/api/v1/fixture/requests')).data
  }

  /** Moves the clock of the server, as by "90m" or "25h". */
  advance(duration: string) {
    return this.call('POST', '/api/v1/fixture/clock', { advance: duration })
  }

  reset() {
    return this.call('POST', '/api/v1/fixture/reset', {})
  }
}

async function firstLine(stream: NodeJS.ReadableStream) {
  for await (const line of createInterface({ input: stream })) return line
  throw new Error('lap did not start; it says why above')
}

export const test = base.extend<{ server: Lap; lap: Lap }>({
  server: [
    async ({}, use) => {
      const server = spawn(process.env.LAP_BINARY ?? 'lap', ['serve', '--ephemeral', '--fixture'], {
        stdio: ['pipe', 'pipe', 'inherit'], // the server lives as long as its standard input is open
      })
      const { url, key } = JSON.parse(await firstLine(server.stdout))
      await use(new Lap(url, key))
      server.stdin.end()
      await once(server, 'exit')
    },
    { scope: 'worker' },
  ],
  lap: async ({ server }, use) => {
    await use(server)
    await server.reset()
  },
})
