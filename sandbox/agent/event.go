//go:build unix

package agent

// Properties of events, named by what they tell.
type (
	sessionChanged struct { // session.created, .updated, .deleted
		SessionID string  `json:"sessionID"`
		Info      Session `json:"info"`
	}
	statusChanged struct { // session.status
		SessionID string `json:"sessionID"`
		Status    Status `json:"status"`
	}
	sessionMark struct { // session.idle, session.compacted
		SessionID string `json:"sessionID"`
	}
	sessionFailed struct { // session.error
		SessionID string `json:"sessionID"`
		Error     *Error `json:"error"`
	}
	messageChanged struct { // message.updated
		SessionID string `json:"sessionID"`
		Info      Info   `json:"info"`
	}
	partChanged struct { // message.part.updated
		SessionID string `json:"sessionID"`
		Part      Part   `json:"part"`
		Time      int64  `json:"time"`
	}
	partGrown struct { // message.part.delta: Delta goes to the end of Field
		SessionID string `json:"sessionID"`
		MessageID string `json:"messageID"`
		PartID    string `json:"partID"`
		Field     string `json:"field"`
		Delta     string `json:"delta"`
	}
	partRemoved struct { // message.part.removed
		SessionID string `json:"sessionID"`
		MessageID string `json:"messageID"`
		PartID    string `json:"partID"`
	}
)
