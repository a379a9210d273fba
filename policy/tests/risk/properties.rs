//! Nothing that is added to a request makes it look less risky.
