"""An OpenAI-compatible model server: the demo's model, and the model of every test.

A process of its own (`python -m bobbin_gateway.demo_model`) that shares no code with the rest of the gateway.
It answers `POST /v1/responses` and `POST /v1/chat/completions` (streamed or whole) and `GET /v1/models`.
`POST /v1/audio/transcriptions` says what recording it got, see `bobbin_gateway.demo_model.transcription`.
Responses may be made in the background, see `bobbin_gateway.demo_model.background`.
What it answers is chosen by the request's `model`, so any number of tests can share one server:

`demo`, and every name that is none of the following
    Echoes the message and recalls the earlier ones, a word at a time. When the instructions ask for a title,
    the answer is a title. When tools are on offer, it calls the one that the message names ("list my tasks"
    for `list_tasks`, or exactly: `call NAME {json}`), and then says what came out; see
    `bobbin_gateway.demo_model.tool_use`.

`recording:<name>[?<options>]`, as `recording:chat-openai-text-usage?chunk=7&delay_ms=1`
    The file `<name>.sse` of `--recordings`, byte for byte, whatever was asked; for its options see
    `bobbin_gateway.demo_model.script.Pace`.

`script:<options>`, the options as in a URL's query: `script:deltas=20&size=4&delay_ms=5`
    A made-up answer and its faults; `bobbin_gateway.demo_model.script.Script` says what each option means.
    An unknown option or a bad value is answered with status 400.

In all but recordings, a user message that starts with `say:` is answered with exactly the rest of it.

With `--record-requests`, `GET /requests` lists the requests received, and how each ended, see
`bobbin_gateway.demo_model.received`; `DELETE /requests` forgets them.
"""
