import { expect } from 'vitest'
import { test } from './lap'

test('an agent replies', async ({ lap }) => {
  const session = await lap.session(await lap.agent('scripted/echo'))

  expect(await lap.say(session, 'hello')).toBe('hello')

  const requests = await lap.requests()
  expect(requests).toMatchObject([{ session_id: session.id, model: 'scripted/echo' }])
  expect(requests[0].body.messages.at(-1).content.at(-1).text).toBe('hello')
})

test('a command runs in the sandbox', async ({ lap }) => {
  const session = await lap.session(await lap.agent('scripted/echo'))

  expect(await lap.say(session, 'RUN: expr 6 \\* 7')).toBe('$ expr 6 \\* 7\n42')
})

test('an idle session ends', async ({ lap }) => {
  const session = await lap.session(await lap.agent('scripted/echo'))

  await lap.advance('25h') // a session may be idle for 24 hours

  expect(await lap.waitUntil(session, 'dead')).toMatchObject({ failure_reason: 'idle timeout' })
})

test('each test starts clean', async ({ lap }) => {
  expect(await lap.requests()).toEqual([])
  expect(await lap.call('GET', '/api/v1/managed_agents/agents')).toMatchObject({ total: 0 })
})
